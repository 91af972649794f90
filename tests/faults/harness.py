"""Kills a small run again and again, and compares what it ends in with a run that was left alone.

    make faults                                      # 100 kills and the planted faults
    python tests/faults/harness.py --kills=20 --seed=7
    KERAS_BACKEND=jax python tests/faults/harness.py --keras=3

Every other run asks its teacher live instead of keeping its logits. Ends with status 0 only if so many kills
struck, and every run ended in the very weights, optimizer slots, histories, results and exported bytes.
"""

import argparse
import collections
import csv
import dataclasses
import json
import math
import os
import pathlib
import random
import re
import shlex
import subprocess
import sys
import tempfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
FLAGS = (
    "--dataset=digits",
    "--data.train_examples=320",
    "--data.crop_padding=1",
    "--data.flip=false",
    "--student=cnn2",
    "--teacher=cnn3",
    "--training.batch_size=32",
    "--teacher.training.epochs=3",
    "--student.training.epochs=3",
    "--quantized.training.epochs=4",
    "--teacher.views=2",
    "--data.validation_split=0.1",
    "--training.schedule=cosine",
    "--distil.schedule_on=step",
    "--formats=saved_model,keras,litert-float32,litert-int8,litert-int2",
    "--run.checkpoint_every=3",
    "--run.deterministic",
)
# A part of the paths of a stage, and about how often it changes its files from where the kill before left it.
# Those with checkpoints are also killed while one is written.
PLAN = (
    ("", 4),
    ("teacher-", 60),
    ("teacher-", 30),
    ("teacher-", 10),
    ("student-", 60),
    ("student-", 30),
    ("student-", 10),
    ("logits-", 7),
    ("logits-", 7),
    ("quantized-", 80),
    ("quantized-", 40),
    ("quantized-", 20),
    ("export-", 40),
    ("/export/", 8),
    ("measured-", 4),
)
_CACHE = "logits-"
_LIVE = ("--teacher.views=0",)
VARIANTS = ((), _LIVE)
ASKED: list[str] = []
"""Flags of this call of the harness, besides `FLAGS`."""
_OF_KERAS_3 = "--run.keras=3"
_WITH_CHECKPOINTS = ("teacher-", "student-", "quantized-")
_NEVER = "1000000"


def keras() -> str:
    """Returns which Keras trains."""
    return "3" if _OF_KERAS_3 in ASKED else "2"


class Server:
    """A process that starts victims, one at a time; it ends with this one."""

    def __init__(self) -> None:
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "TF_ENABLE_ONEDNN_OPTS": "1",
        }
        self._child = subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "faults" / "victim.py"), "serve", keras()],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def call(self, arguments: list[str]) -> subprocess.CompletedProcess:
        """Runs a victim to its end or its fault."""
        with tempfile.TemporaryDirectory() as scratch:
            files = {name: pathlib.Path(scratch, name) for name in ("out", "err")}
            request = {"arguments": arguments, **{k: str(file) for k, file in files.items()}}
            self._child.stdin.write(json.dumps(request) + "\n")
            self._child.stdin.flush()
            status = int(self._child.stdout.readline())
            said = [file.read_text(errors="replace") for file in files.values()]
        return subprocess.CompletedProcess(arguments, status, *said)


_idle: list[Server] = []


def call(
    fault: str, moment: str, directory: pathlib.Path, *flags: str
) -> subprocess.CompletedProcess:
    """Runs a victim to its end or its fault."""
    try:
        server = _idle.pop()
    except IndexError:
        server = Server()
    try:
        return server.call([fault, moment, *FLAGS, *ASKED, *flags, f"--run_dir={directory}"])
    finally:
        _idle.append(server)


def outcome(directory: pathlib.Path) -> dict[str, object]:
    """Returns all that a run ends in: weights, slots, histories without seconds, results, exported bytes."""
    found: dict[str, object] = {"results": json.loads((directory / "results.json").read_text())}
    # Logs tell how often a run was begun; nothing else may be left of that, nor any checkpoint.
    found["files"] = sorted(
        str(file.relative_to(directory))
        for file in directory.rglob("*")
        if file.is_file() and "tensorboard" not in file.parts
    )
    for product in sorted(path for path in (directory / "products").iterdir() if path.is_dir()):
        for file in sorted(product.rglob("*")):
            name = str(file.relative_to(directory))
            if file.name == "history.csv":
                with file.open(newline="") as stream:
                    rows = list(csv.DictReader(stream))
                found[name] = [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
            elif file.name == "model.keras":
                with zipfile.ZipFile(file) as archive, archive.open("model.weights.h5") as weights:
                    found[name] = _arrays(h5py.File(weights))
            elif file.suffix == ".f16":
                found[name] = file.read_bytes()
    # The victim has kept what a finished stage does not.
    for checkpoint in pathlib.Path(f"{directory}.slots").glob("*/epoch*"):
        found[f"{checkpoint.parent.name}/last checkpoint"] = checkpoint.name
        read = _stored if keras() == "3" else _tensors
        found[f"{checkpoint.parent.name}/slots"] = read(checkpoint / "state")
    # What is exported is the same to the byte, in the run as in the product that it is a copy of.
    for place in (directory / "export", *(directory / "products").glob("export-*[0-9a-f]")):
        for file in place.rglob("*"):
            if file.is_file():
                found[str(file.relative_to(directory))] = file.read_bytes()
    return found


def _arrays(file: h5py.File) -> dict[str, bytes]:
    arrays: dict[str, bytes] = {}

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            arrays[name] = item[()].tobytes()

    file.visititems(visit)
    return arrays


def _tensors(prefix: pathlib.Path) -> dict[str, bytes]:
    """Weights, slots, steps and random states of a checkpoint, by their places in it."""
    from tfqkd.compat import tf

    reader = tf.train.load_checkpoint(str(prefix))
    names = sorted(reader.get_variable_to_shape_map())
    return {n: reader.get_tensor(n).tobytes() for n in names if not n.startswith("_CHECKPOINTABLE")}


def _stored(prefix: pathlib.Path) -> dict[str, bytes]:
    """The same of a checkpoint of Keras 3."""
    with np.load(prefix.with_suffix(".npz")) as file:
        return {name: file[name].tobytes() for name in file.files}


@dataclasses.dataclass
class Tally:
    """What happened.

    Attributes:
        kills: Kills that struck, by stage and moment.
        runs: Runs that were brought to their end.
        identical: Those that ended in the very same.
        failures: What went wrong, in words.
    """

    kills: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    runs: int = 0
    identical: int = 0
    failures: list[str] = dataclasses.field(default_factory=list)

    def compare(self, name: str, directory: pathlib.Path, expected: dict[str, object]) -> None:
        """Counts a run that has ended."""
        self.runs += 1
        try:
            found = outcome(directory)
        except OSError as error:
            self.failures.append(f"{name}: {error}")
            return
        differing = [key for key in {**expected, **found} if expected.get(key) != found.get(key)]
        self.identical += not differing
        if differing:
            self.failures.append(f"{name}: {', '.join(sorted(differing))}")

    def require(self, name: str, holds: bool, text: str) -> None:
        """Counts a failure unless something holds."""
        if not holds:
            self.failures.append(f"{name}: {text[-2000:]}")

    def add(self, other: "Tally") -> None:
        """Adds what happened elsewhere."""
        self.kills += other.kills
        self.runs += other.runs
        self.identical += other.identical
        self.failures += other.failures


def draw_moment(stage: str, changes: int, generator: random.Random) -> str:
    """Returns a moment at a change of a file, some time after one, or inside a checkpoint."""
    kinds = ["change", "later", "checkpoint"] if stage in _WITH_CHECKPOINTS else ["change", "later"]
    kind = generator.choice(kinds)
    if kind == "checkpoint":
        return f"c{generator.randint(1, 3)}+{generator.uniform(0.0005, 0.02):.4f}"
    number = generator.randint(1, changes)
    if kind == "change":
        return str(number)
    return f"{number}+{10 ** generator.uniform(-3, 0.5):.4f}"


def plan(flags: tuple[str, ...]) -> list[tuple[str, int]]:
    """Returns the stages in which a run with these flags besides `FLAGS` can be killed."""
    return [entry for entry in PLAN if flags != _LIVE or entry[0] != _CACHE]


def kill_and_go_on(
    directory: pathlib.Path,
    kills: int,
    generator: random.Random,
    tally: Tally,
    flags: tuple[str, ...] = (),
) -> None:
    """Kills one run in its stages, each at a moment by chance, and lets it end."""
    stages = plan(flags)
    for stage, changes in (stages[n] for n in sorted(generator.sample(range(len(stages)), kills))):
        moment = f"{stage}:{draw_moment(stage, changes, generator)}"
        child = call("kill", moment, directory, *flags)
        if child.returncode == 0:
            break  # Only where a stage has fewer changes than the moment asked for.
        tally.require(directory.name, child.returncode == -9, child.stderr)
        record = pathlib.Path(f"{directory}.moments").read_text().splitlines()[-1]
        tally.kills[stage.strip("-/") or "the start", _moment(record)] += 1
    child = call("none", "0", directory, *flags)
    tally.require(directory.name, child.returncode == 0, child.stderr)


def _moment(record: str) -> str:
    """Says in general terms what a killed process was about to do."""
    _, event, inside = record.split("\t")
    if inside and "state.index" not in inside.split():
        return "in a half-written checkpoint"
    if event.startswith("after "):
        return "between two changes"
    action, _, path = event.partition(" ")
    file = re.sub(r"[0-9a-f]{12}|\d+", "N", path.split("/")[-1])
    return f"{action.removeprefix('os.')} {file}"


def plant_refusal(kind: str, moment: str, said: str, directory: pathlib.Path, tally: Tally) -> None:
    """Lets the disk refuse from a moment on, then not."""
    name = f"{said} from {moment} on"
    child = call(kind, moment, directory)
    tally.require(name, child.returncode == 1, f"status {child.returncode} {child.stderr}")
    tally.require(name, said in child.stderr, child.stderr)
    tally.require(name, "Traceback" not in child.stderr, child.stderr)
    tally.require(name, "the same command goes on" in child.stderr, child.stderr)
    child = call("none", "0", directory)
    tally.require(name, child.returncode == 0, child.stderr)


def plant_damage(stage: str, directory: pathlib.Path, tally: Tally) -> None:
    """Kills a run in its third checkpoint, damages the second, and lets it go on with the first."""
    call("kill", f"{stage}:c3", directory)
    name = f"damaged checkpoint of the {stage.strip('-')}"
    newest = sorted((directory / "products").glob("*.partial/checkpoints/epoch*[0-9]"))[-1]
    data = newest / ("state.npz" if keras() == "3" else "state.data-00000-of-00001")
    flipped = bytearray(data.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    data.write_bytes(flipped)
    child = call("none", "0", directory)
    tally.require(name, child.returncode == 0, child.stderr)
    tally.require(name, f"{newest.name} is damaged" in child.stdout, child.stdout)
    tally.require(name, "goes on after epoch 0 and 3 steps" in child.stdout, child.stdout)


def plant_signals(directory: pathlib.Path, tally: Tally) -> None:
    """Asks a run to stop, twice; each time it must keep its step and say how to go on."""
    for kind, stage, status in (("term", "student-", 143), ("int", "quantized-", 130)):
        child = call(kind, f"{stage}:c1+0.005", directory)
        tally.require(kind, child.returncode == status, f"{child.returncode} {child.stderr}")
        last = (child.stdout.splitlines() or [""])[-1]
        command = ["bin/train", *FLAGS, *ASKED, f"--run_dir={directory}"]
        tally.require(kind, last == f"To go on: {shlex.join(command)}", last)
        newest = sorted((directory / "products").glob("*.partial/checkpoints/epoch*[0-9]"))[-1:]
        epoch, step = map(int, re.findall(r"\d+", newest[0].name)) if newest else (0, 0)
        said = f"epoch {epoch}" + (f" and {step} steps" if step else "")
        tally.require(kind, f" after {said} of the " in child.stdout, f"{said}: {child.stdout}")
    child = call("none", "0", directory)
    tally.require("signals", child.returncode == 0, child.stderr)


def plant_nan(directory: pathlib.Path, tally: Tally) -> None:
    """Lets the quantized stage diverge: it must stop, say where, and leave nothing that looks finished."""
    child = call(
        "none",
        "0",
        directory,
        "--quantized.training.learning_rate=1e38",
        "--training.momentum=0",
        "--training.warmup_epochs=0.2",
    )
    name = "divergence"
    tally.require(name, child.returncode == 1, child.stderr)
    found = re.search(r"must stay finite.* (?:in|by) step \d+ of epoch \d+ of the", child.stderr)
    tally.require(name, bool(found), child.stderr)
    left = {
        path.name.partition("-")[0]
        for path in (directory / "products").glob("*-*")
        if path.is_dir()
    }
    finished = not list((directory / "products").glob("quantized-*[!l]/model.keras"))
    tally.require(name, finished and "export" not in left, str(left))
    tally.require(name, not (directory / "results.json").exists(), "there are results")


def plant_all(work: pathlib.Path, writes: int, expected: dict[str, object], tally: Tally) -> None:
    """Plants each fault in a run of its own, all of which must end in the very same."""
    refusals = [
        ("full", "2", "No space left on device"),
        ("full", str(writes // 4), "No space left on device"),
        ("full", str(writes * 3 // 4), "No space left on device"),
        ("readonly", str(writes // 2), "Read-only file system"),
        ("size", "student-:c2", "File too large"),
    ]
    for number, (kind, moment, said) in enumerate(refusals):
        directory = work / f"{kind}{number}"
        plant_refusal(kind, moment, said, directory, tally)
        tally.compare(directory.name, directory, expected)
    for stage in ("teacher-", "quantized-"):
        plant_damage(stage, work / f"damaged-{stage}", tally)
        tally.compare(f"damaged {stage}", work / f"damaged-{stage}", expected)
    plant_signals(work / "signals", tally)
    tally.compare("signals", work / "signals", expected)
    plant_nan(work / "nan", tally)


def kill_all(work: pathlib.Path, kills: int, seed: int, expected: list[dict[str, object]]) -> Tally:
    """Kills runs until there were so many kills; a run for each processor at a time.

    Args:
        work: Where the runs go.
        kills: How many.
        seed: Of their moments.
        expected: What each of `VARIANTS` ends in.
    """
    tally, number = Tally(), 0

    def attempt(task: tuple[int, int]) -> Tally:
        name, share = task
        own, directory, variant = Tally(), work / f"run{name}", name % len(VARIANTS)
        generator = random.Random(f"{seed}-{name}")
        kill_and_go_on(directory, share, generator, own, VARIANTS[variant])
        own.compare(directory.name, directory, expected[variant])
        return own

    most = min(len(plan(flags)) for flags in VARIANTS)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while (left := kills - sum(tally.kills.values())) > 0 and number < kills:
            count = math.ceil(left / most)
            shares = [left // count + (each < left % count) for each in range(count)]
            for own in pool.map(attempt, enumerate(shares, number)):
                tally.add(own)
                struck = sum(tally.kills.values())
                print(f"{struck} kills, {tally.identical} of {tally.runs} identical", flush=True)
            number += count
    struck = sum(tally.kills.values())
    tally.require("the kills", struck >= kills, f"{struck} of {kills} struck")
    return tally


def main() -> int:
    """Runs the harness and prints its report; returns 0 if nothing was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keras", choices=("2", "3"), default="2", help="Which Keras trains.")
    parser.add_argument("--noplanted", action="store_true", help="Kills only.")
    parser.add_argument("--json", help="Where to write the report as JSON.")
    options = parser.parse_args()
    if options.keras == "3":
        ASKED.append(_OF_KERAS_3)
    with tempfile.TemporaryDirectory() as scratch:
        work = pathlib.Path(scratch)
        expected, writes = [], []
        for number, flags in enumerate(VARIANTS):
            directory, began = work / f"reference{number}", time.monotonic()
            child = call("kill", _NEVER, directory, *flags)
            if child.returncode:
                print(child.stderr[-3000:])
                return 1
            expected.append(outcome(directory))
            writes.append(int(pathlib.Path(f"{directory}.moments").read_text().split()[1]))
            print(
                f"A run with a {'live teacher' if flags else 'teacher cache'} that is left alone takes "
                f"{time.monotonic() - began:.0f} s and changes its directory {writes[-1]} times.",
                flush=True,
            )
        kills = kill_all(work, options.kills, options.seed, expected)
        _report_kills(kills)
        planted = Tally()
        if not options.noplanted:
            plant_all(work, writes[0], expected[0], planted)
    _report(kills, planted, options.json)
    return 1 if kills.failures or planted.failures else 0


def _report_kills(kills: Tally) -> None:
    counts: dict[str, collections.Counter] = {
        "by what was being done": collections.Counter(),
        "by moment": collections.Counter(),
    }
    for (stage, moment), count in kills.kills.items():
        counts["by what was being done"][stage] += count
        counts["by moment"][moment] += count
    print(f"\nkills: {sum(kills.kills.values())}")
    for title, counter in counts.items():
        print(f"{title}:")
        for name, count in counter.most_common():
            print(f"  {name:40} {count}")
    print(
        f"runs that were killed and ended bit-identical: {kills.identical} of {kills.runs}",
        flush=True,
    )


def _report(kills: Tally, planted: Tally, path: str | None) -> None:
    print(f"runs with a planted fault that did:            {planted.identical} of {planted.runs}")
    failures = [*kills.failures, *planted.failures]
    for failure in failures:
        print(f"FAILED {failure}")
    if path:
        found = {
            "kills": [[*key, count] for key, count in sorted(kills.kills.items())],
            "killed": [kills.identical, kills.runs],
            "planted": [planted.identical, planted.runs],
            "failures": failures,
        }
        pathlib.Path(path).write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
