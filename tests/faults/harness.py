"""Kills a small run again and again, and compares what it ends in with a run that was left alone.

    make faults                                      # 100 kills and the planted faults
    python tests/faults/harness.py --kills=20 --seed=7

Ends with status 0 only if every run ended in the very weights, history, results and exported bytes.
"""

import argparse
import collections
import csv
import dataclasses
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import zipfile

import h5py

ROOT = pathlib.Path(__file__).resolve().parents[2]
FLAGS = (
    "--dataset=digits",
    "--train_examples=320",
    "--crop_padding=1",
    "--noflip",
    "--student=cnn2",
    "--teacher=cnn3",
    "--batch_size=32",
    "--teacher_epochs=3",
    "--student_epochs=3",
    "--quantized_epochs=4",
    "--teacher_views=2",
    "--validation_split=0.1",
    "--learning_rate_schedule=cosine",
    "--schedule_on=step",
    "--formats=litert-float32,litert-int8",
    "--checkpoint_every=3",
    "--deterministic",
)
# A part of the paths of a stage, about how often it writes there, and about how many seconds it takes.
PLAN = (
    ("", 3, 1.0),
    ("teacher-", 30, 6.0),
    ("teacher-", 30, 3.0),
    ("student-", 30, 6.0),
    ("student-", 30, 3.0),
    ("logits-", 12, 1.0),
    ("quantized-", 40, 8.0),
    ("quantized-", 30, 8.0),
    ("quantized-", 20, 4.0),
    ("export", 10, 5.0),
    ("export", 6, 3.0),
    ("measured-", 8, 1.0),
)
NEVER = "1000000"


def call(
    fault: str, moment: str, directory: pathlib.Path, *flags: str
) -> subprocess.CompletedProcess:
    """Runs the victim to its end or its fault."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "1",
    }
    victim = str(ROOT / "tests" / "faults" / "victim.py")
    return subprocess.run(
        [sys.executable, victim, fault, moment, *FLAGS, *flags, f"--run_dir={directory}"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def outcome(directory: pathlib.Path) -> dict[str, object]:
    """Returns all that a run ends in: weights, histories but for their seconds, results, exported bytes."""
    found: dict[str, object] = {"results": json.loads((directory / "results.json").read_text())}
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
            elif file.suffix in (".tflite", ".f16"):
                found[name] = file.read_bytes()
    for file in (directory / "export").glob("*.tflite"):
        found[f"export/{file.name}"] = file.read_bytes()
    return found


def _arrays(file: h5py.File) -> dict[str, bytes]:
    arrays: dict[str, bytes] = {}

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            arrays[name] = item[()].tobytes()

    file.visititems(visit)
    return arrays


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
        found = outcome(directory)
        differing = [key for key in {**expected, **found} if expected.get(key) != found.get(key)]
        self.identical += not differing
        if differing:
            self.failures.append(f"{name}: {', '.join(sorted(differing))}")

    def require(self, name: str, holds: bool, text: str) -> None:
        """Counts a failure unless something holds."""
        if not holds:
            self.failures.append(f"{name}: {text[-2000:]}")


def events(directory: pathlib.Path) -> int:
    """Returns how often a run that was watched to its end changed its directory."""
    kind, count = pathlib.Path(f"{directory}.moments").read_text().split()
    assert kind == "events"
    return int(count)


def kill_and_go_on(
    directory: pathlib.Path, kills: int, generator: random.Random, tally: Tally
) -> None:
    """Kills one run in each of its stages, at a write or at any time, and lets it end."""
    for target, writes, seconds in PLAN[:kills]:
        at_write = generator.random() < 0.6
        moment = generator.randint(1, writes) if at_write else generator.uniform(0, seconds)
        child = call(
            "kill", f"{target}:{moment}" if at_write else f"{target}:{moment:.2f}s", directory
        )
        if child.returncode == 0:
            break  # The stage was over before its moment came, and so is the run.
        tally.require(directory.name, child.returncode == -9, child.stderr)
        record = pathlib.Path(f"{directory}.moments").read_text().splitlines()[-1]
        event = re.sub(r"[0-9a-f]{12}|\d+", "N", record.partition("\t")[2].split("/")[-1])
        moment = f"while writing {event.split()[-1]}" if at_write else "at any time"
        tally.kills[target.strip("-.") or "the start", moment] += 1
    child = call("none", "0", directory)
    tally.require(directory.name, child.returncode == 0, child.stderr)


def plant_full_disk(directory: pathlib.Path, moment: int, tally: Tally) -> None:
    """Lets the disk be full from a moment on, then not."""
    child = call("full", str(moment), directory)
    name = f"full disk from write {moment}"
    tally.require(name, child.returncode == 1, child.stderr)
    tally.require(name, "No space left on device" in child.stderr, child.stderr)
    tally.require(name, "Traceback" not in child.stderr, child.stderr)
    tally.require(name, "the same command goes on" in child.stderr, child.stderr)
    child = call("none", "0", directory)
    tally.require(name, child.returncode == 0, child.stderr)


def plant_damage(directory: pathlib.Path, moment: int, tally: Tally) -> None:
    """Kills a run at a write, damages its newest checkpoint, and lets it go on."""
    call("kill", str(moment), directory)
    name = f"damaged checkpoint after write {moment}"
    newest = sorted((directory / "products").glob("*.partial/checkpoints/epoch*[0-9]"))[-1]
    data = newest / "state.data-00000-of-00001"
    flipped = bytearray(data.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    data.write_bytes(flipped)
    child = call("none", "0", directory)
    tally.require(name, child.returncode == 0, child.stderr)
    tally.require(name, f"{newest.name} is damaged" in child.stdout, child.stdout)


def plant_nan(directory: pathlib.Path, tally: Tally) -> None:
    """Lets the quantized stage diverge: it must stop, say where, and leave nothing that looks finished."""
    child = call(
        "none",
        "0",
        directory,
        "--quantized_learning_rate=1e38",
        "--momentum=0",
        "--warmup_epochs=0.2",
    )
    name = "divergence"
    tally.require(name, child.returncode == 1, child.stderr)
    found = re.search(r"The loss must stay finite.*in step \d+ of epoch \d+ of the", child.stderr)
    tally.require(name, bool(found) and "gradients of " in child.stderr, child.stderr)
    left = {
        path.name.partition("-")[0]
        for path in (directory / "products").glob("*-*")
        if path.is_dir()
    }
    finished = not list((directory / "products").glob("quantized-*[!l]/model.keras"))
    tally.require(name, finished and "export" not in left, str(left))
    tally.require(name, not (directory / "results.json").exists(), "there are results")


def main() -> int:
    """Runs the harness and prints its report; returns 0 if nothing was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--noplanted", action="store_true", help="Kills only.")
    parser.add_argument("--json", help="Where to write the report as JSON.")
    options = parser.parse_args()
    generator, tally = random.Random(options.seed), Tally()
    with tempfile.TemporaryDirectory() as scratch:
        work = pathlib.Path(scratch)
        child = call("kill", NEVER, work / "reference")
        if child.returncode:
            print(child.stderr[-3000:])
            return 1
        expected, writes = outcome(work / "reference"), events(work / "reference")
        print(f"An uninterrupted run changes its directory {writes} times.", flush=True)
        number = 0
        while sum(tally.kills.values()) < options.kills and number < options.kills:
            left = options.kills - sum(tally.kills.values())
            directory = work / f"run{number}"
            kill_and_go_on(directory, left, generator, tally)
            tally.compare(directory.name, directory, expected)
            number += 1
            print(
                f"{sum(tally.kills.values())} kills, {tally.identical} of {tally.runs} identical",
                flush=True,
            )
        if not options.noplanted:
            for moment in (2, writes // 4, writes * 3 // 4):
                plant_full_disk(work / f"full{moment}", moment, tally)
                tally.compare(f"full{moment}", work / f"full{moment}", expected)
            for moment in (writes // 4, writes * 3 // 4):
                plant_damage(work / f"damaged{moment}", moment, tally)
                tally.compare(f"damaged{moment}", work / f"damaged{moment}", expected)
            plant_nan(work / "nan", tally)
    _report(tally, options.json)
    return 1 if tally.failures else 0


def _report(tally: Tally, path: str | None) -> None:
    by_stage: collections.Counter = collections.Counter()
    for (name, _), count in tally.kills.items():
        by_stage[name] += count
    print(f"\nkills: {sum(tally.kills.values())}, by what was being done:")
    for name, count in by_stage.most_common():
        print(f"  {name:16} {count}")
    print("by moment:")
    by_moment: collections.Counter = collections.Counter()
    for (_, moment), count in tally.kills.items():
        by_moment[moment] += count
    for moment, count in by_moment.most_common():
        print(f"  {moment:40} {count}")
    print(f"runs that ended bit-identical: {tally.identical} of {tally.runs}")
    for failure in tally.failures:
        print(f"FAILED {failure}")
    if path:
        found = {
            "kills": [[*key, count] for key, count in sorted(tally.kills.items())],
            "runs": tally.runs,
            "identical": tally.identical,
            "failures": tally.failures,
        }
        pathlib.Path(path).write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
