"""Contestants that take turns, and the ratios of their times."""

import collections
import contextlib
import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence

from scipy.stats import binom

ROOT = pathlib.Path(__file__).resolve().parents[1]


@dataclasses.dataclass(frozen=True)
class Contestant:
    """A process that `contestant.serve` replies for.

    Attributes:
        name: What its row is called.
        command: Arguments of the Python interpreter.
        python: The interpreter.
    """

    name: str
    command: Sequence[str]
    python: str = sys.executable


@dataclasses.dataclass(frozen=True)
class Ratio:
    """The median of paired ratios, one a round, with a confidence interval of the median.

    Attributes:
        median: Median.
        low: Lower end of the interval.
        high: Upper end.
        rounds: Number of rounds.
    """

    median: float
    low: float
    high: float
    rounds: int

    def __str__(self) -> str:
        return f"{self.median:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclasses.dataclass(frozen=True)
class Turns:
    """What a contestant's turns took: a value for each round, in the order of the rounds."""

    wall: list[float]
    cpu: list[float]
    peak_mib: float


def compete(
    contestants: Sequence[Contestant],
    *,
    steps: int,
    rounds: int,
    progress: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
) -> tuple[dict[str, Turns], dict[str, str]]:
    """Lets contestants take turns: in each round every one runs `steps` steps while the others wait.

    The order is reversed after every round, and starts with another contestant after every second.

    Args:
        contestants: Who takes part; each is a process of its own, alive to the end.
        steps: In a turn.
        rounds: How many turns each has.
        progress: Called with a line now and then.

    Returns:
        The turns by name; and by name, what kept a contestant from taking part.
    """
    with contextlib.ExitStack() as stack:
        running: dict[str, _Process] = {}
        failed: dict[str, str] = {}
        for contestant in contestants:
            progress(f"starting {contestant.name}")
            process = stack.enter_context(_started(contestant))
            reply = process.reply()
            if "error" in reply:
                failed[contestant.name] = reply["error"]
                progress(f"{contestant.name} does not take part: {reply['error']}")
            else:
                running[contestant.name] = process
        replies: dict[str, list[dict[str, float]]] = {name: [] for name in running}
        for number in range(rounds):
            # Everyone begins in turn, forwards and backwards: nobody always follows the same one.
            order = collections.deque(running)
            order.rotate(-(number // 2))
            if number % 2:
                order.reverse()
            for name in order:
                replies[name].append(running[name].turn(steps))
            progress(f"round {number + 1} of {rounds}")
    return {name: _turns(taken) for name, taken in replies.items()}, failed


def _turns(taken: list[dict[str, float]]) -> Turns:
    peak = max(turn["peak_mib"] for turn in taken)
    return Turns([turn["wall"] for turn in taken], [turn["cpu"] for turn in taken], peak)


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Ratio:
    """Returns the median of the rounds' ratios, with its 95 % interval.

    The interval lies between two order statistics, whatever the distribution: of n ratios, the number below
    the true median is binomial(n, 1/2).
    """
    ratios = sorted(a / b for a, b in zip(numerators, denominators, strict=True))
    count = len(ratios)
    rank = int(binom.ppf(0.025, count, 0.5))
    # With fewer than six rounds no such interval exists: then it is the whole range.
    rank = max(rank - 1, 0) if binom.cdf(rank, count, 0.5) > 0.025 else rank
    return Ratio(statistics.median(ratios), ratios[rank], ratios[count - 1 - rank], count)


class _Process:
    def __init__(self, process: subprocess.Popen[str], log: pathlib.Path) -> None:
        self._process, self._log = process, log

    def reply(self) -> dict[str, float]:
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        last = [text for text in self._log.read_text(errors="replace").splitlines() if text.strip()]
        return {"error": last[-1] if last else "it ended without a word"}

    def turn(self, steps: int) -> dict[str, float]:
        self._process.stdin.write(f"{steps}\n")
        self._process.stdin.flush()
        reply = self.reply()
        if "error" in reply:
            raise RuntimeError(f"A contestant died: {reply['error']}")
        return reply


@contextlib.contextmanager
def _started(contestant: Contestant) -> Iterator[_Process]:
    with tempfile.TemporaryDirectory(prefix="tfqkd-benchmark-") as directory:
        log = pathlib.Path(directory) / "log"
        with log.open("w") as stderr:
            process = subprocess.Popen(
                [contestant.python, *contestant.command],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                # TensorFlow's best setting, for every contestant that has it.
                env={**os.environ, "PYTHONPATH": str(ROOT), "TF_ENABLE_ONEDNN_OPTS": "1"},
            )
        try:
            yield _Process(process, log)
        finally:
            process.stdin.close()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
