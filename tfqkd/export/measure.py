"""Measures exported files in processes of their own: latency, load time and memory.

`python -m tfqkd.export.measure MEASURE ARGUMENTS` is such a process: MEASURE is "latency" or "footprint",
ARGUMENTS a JSON object with the arguments of `latencies` or `footprint`; it prints the result as JSON.
"""

import dataclasses
import json
import pathlib
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tfqkd.export.formats import FORMATS
from tfqkd.export.report import Report
from tfqkd.export.verification import ExportError, child_environment
from tfqkd.runtime.loading import RUNTIME_SUFFIXES, load, runtime_of
from tfqkd.runtime.signature import SIGNATURE, Tensor

THREADS, BATCHES = (1, 2), (1, 32)
# One image takes a millisecond, which anything else on the machine doubles: it takes many.
_ROUNDS = {1: 101, 32: 31}
_MICRO = "tflite_micro"
_STATUS = pathlib.Path("/proc/self/status")


@dataclasses.dataclass(frozen=True)
class Latency:
    """How long a batch takes.

    Attributes:
        threads: How many threads the runtime may use.
        batch: How many images.
        median: Seconds.
        spread: Difference of the quartiles, seconds.
    """

    threads: int
    batch: int
    median: float
    spread: float


@dataclasses.dataclass(frozen=True)
class Measured:
    """A file, as it runs on this machine.

    Attributes:
        format: Name of its format.
        direct: Whether the runtime got it as it is; otherwise `tfqkd.export.load` has widened its
            codes first.
        load_seconds: From the file to a function that is ready.
        peak_bytes: By how much loading it and a batch of one image raise the peak memory; None
            where the system does not tell.
        latencies: One for each number of threads and images.
    """

    format: str
    direct: bool
    load_seconds: float
    peak_bytes: float | None
    latencies: tuple[Latency, ...]

    @property
    def name(self) -> str:
        """What tables call it."""
        return f"{self.format}, as it is" if self.direct else self.format


def measure(reports: Sequence[Report]) -> list[Measured]:
    """Measures exported files; those with codes below 8 bits both ways.

    All are run in turns, in one process for each number of threads. Models for microcontrollers are left
    out: how fast a desktop runs them says nothing.

    Args:
        reports: What was exported.

    Raises:
        ExportError: If a child process fails.
    """
    runs: list[tuple[Report, bool]] = []
    for report in reports:
        form = FORMATS[report.format]
        if form.runtime != _MICRO:
            ways = (False, True) if form.has_narrow_codes else (False,)
            runs += [(report, direct) for direct in ways]
    if not runs:
        return []
    files = [(report.path, direct) for report, direct in runs]
    rounds = [(batch, _ROUNDS[batch]) for batch in BATCHES]
    by_threads = [
        _child("latency", {"files": files, "threads": threads, "rounds": rounds})
        for threads in THREADS
    ]
    measured = []
    for index, (report, direct) in enumerate(runs):
        found = _child("footprint", {"path": report.path, "direct": direct})
        entries = [entry for each in by_threads for entry in each[index]]
        latencies_of = tuple(Latency(**entry) for entry in entries)
        seconds, peak = found["load_seconds"], found["peak_bytes"]
        measured.append(Measured(report.format, direct, seconds, peak, latencies_of))
    return measured


def latencies(
    files: Sequence[tuple[str, bool]], threads: int, rounds: Sequence[tuple[int, int]]
) -> list[list[dict[str, float]]]:
    """Measures files in turns, so that what else the machine does falls on all of them alike.

    The order is another one in each round: a runtime's threads may still spin when the next begins.

    Args:
        files: Paths of exported files, each with whether it is given to the runtime as it is; see
            `tfqkd.runtime.load`.
        threads: How many threads a runtime uses.
        rounds: Pairs of a number of images and how often a batch of so many is run; one more run comes
            first and does not count.

    Returns:
        For each file a list: for each number of images, the median and the spread (the difference
        of the quartiles) in seconds.
    """
    opened = [_opened(path, threads, direct) for path, direct in files]
    results: list[list[dict[str, float]]] = [[] for _ in files]
    generator = np.random.default_rng(0)
    for batch, count in rounds:
        times: list[list[float]] = [[] for _ in files]
        for number in range(count + 1):
            for index in generator.permutation(len(files)):
                given = opened[index].zeros(batch)
                start = time.perf_counter()
                opened[index].serve(given)
                if number:
                    times[index].append(time.perf_counter() - start)
        for result, taken in zip(results, times, strict=True):
            low, median, high = statistics.quantiles(taken, n=4)
            result.append(
                {"threads": threads, "batch": batch, "median": median, "spread": high - low}
            )
    return results


def footprint(path: str, direct: bool = False) -> dict[str, float | None]:
    """Returns how long a file takes to load, and the memory that it takes.

    Args:
        path: An exported file.
        direct: See `tfqkd.runtime.load`.

    Returns:
        `load_seconds`, from the file to a function that is ready; `peak_bytes`, by how much that and
        a batch of one image raise the process's peak memory, the runtime's own libraries apart; None
        where the system is not Linux, which alone tells it.
    """
    _import_runtime(path)
    before = _peak()
    start = time.perf_counter()
    opened = _opened(path, None, direct)
    seconds = time.perf_counter() - start
    opened.serve(opened.zeros(1))
    after = _peak()
    raised = None if before is None or after is None else float(after - before)
    return {"load_seconds": seconds, "peak_bytes": raised}


class _Opened(NamedTuple):
    """A file as a function of batches.

    Attributes:
        inputs: What it takes, by name.
        serve: From a batch of each to what the file returns.
    """

    inputs: Mapping[str, Tensor]
    serve: Callable[[Any], Any]

    def zeros(self, count: int) -> Any:
        """Returns a batch of zeros, images or others; of several inputs one of each, by name."""
        found = {}
        for name, tensor in self.inputs.items():
            sizes = [size or 0 for size in tensor.shape[1:]]
            found[name] = np.zeros((count, *sizes), tensor.type)
        return found if len(found) > 1 else next(iter(found.values()))


def _opened(path: str, threads: int | None, direct: bool) -> _Opened:
    if not _needs_tensorflow(path):
        model = load(path, threads, direct=direct)
        return _Opened(model.signature, model)
    from tfqkd.compat import tf
    from tfqkd.fronts.tfmot.saved_models import load_model

    # The same for all files of TensorFlow in a process.
    if threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    if path.endswith(".keras"):
        keras_model = load_model(pathlib.Path(path))
        taken = {each.name: _tensor(each) for each in keras_model.inputs}
        return _Opened(taken, keras_model.predict_on_batch)
    loaded = tf.saved_model.load(path)
    taken = {
        name: _tensor(each)
        for name, each in loaded.signatures[SIGNATURE].structured_input_signature[1].items()
    }

    def serve(given: Any) -> Any:
        # Reached through `loaded`, which must live as long as its function.
        named = given if len(taken) > 1 else dict.fromkeys(taken, given)
        found = loaded.signatures[SIGNATURE](
            **{name: tf.constant(each) for name, each in named.items()}
        )
        return [each.numpy() for each in found.values()]

    return _Opened(taken, serve)


def _tensor(spec: Any) -> Tensor:
    return Tensor(tuple(spec.shape), np.dtype(spec.dtype.as_numpy_dtype))


def _import_runtime(path: str) -> None:
    if _needs_tensorflow(path):
        import tfqkd.fronts.tfmot.saved_models  # noqa: F401
    else:
        runtime_of(path)


def _needs_tensorflow(path: str) -> bool:
    return pathlib.Path(path).suffix not in RUNTIME_SUFFIXES


def _peak() -> int | None:
    """Returns the process's peak memory in bytes, on Linux.

    That of getrusage would not do: a child starts with its parent's, and a parent that has loaded
    TensorFlow is far above what a file takes.
    """
    if not _STATUS.exists():
        return None
    (kib,) = re.findall(r"^VmHWM:\s+(\d+) kB$", _STATUS.read_text("ascii"), re.MULTILINE)
    return 1024 * int(kib)


def _child(name: str, arguments: Mapping[str, Any]) -> Any:
    child = subprocess.run(
        [sys.executable, "-P", "-m", "tfqkd.export.measure", name, json.dumps(arguments)],
        env=child_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if child.returncode:
        raise ExportError(
            "The exported files must run to be measured. "
            f"Received: {child.stderr.strip()[-300:]}. "
            "They stay where they were written. Export with --nolatency to measure nothing."
        )
    return json.loads(child.stdout)


if __name__ == "__main__":
    measures: dict[str, Callable[..., Any]] = {"latency": latencies, "footprint": footprint}
    print(json.dumps(measures[sys.argv[1]](**json.loads(sys.argv[2]))))
