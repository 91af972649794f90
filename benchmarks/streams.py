"""Images that are streamed from files: how many a second beside other loaders, and what memory they take."""

import argparse
import dataclasses
import json
import pathlib
import subprocess
import sys

import numpy as np
from PIL import Image

from benchmarks.contest import ROOT, Contestant, compete, ratio
from benchmarks.environments import python_of
from benchmarks.result import Result
from benchmarks.streams_row import BATCHES

COUNT, CLASSES = 2_000, 10
OURS, PLAIN, TORCH = "ours", "plain tf.data", "PyTorch's DataLoader with Pillow"
GOALS = {PLAIN: 0.95, TORCH: 1.0}
_GROWTH = 5.0


def measure(options: argparse.Namespace) -> Result:
    """Measures random parts of photograph-sized JPEG files, and the peak of memory after two epochs."""
    folder = str(generate(ROOT / "benchmarks" / ".environments" / "pictures"))
    contestants = [
        Contestant(OURS, ["-m", "benchmarks.streams_row", "ours", folder]),
        Contestant(PLAIN, ["-m", "benchmarks.streams_row", "plain", folder]),
    ]
    missing = {}
    try:
        loader = ["benchmarks/peers/torch_loader_row.py", folder]
        contestants.append(Contestant(TORCH, loader, python_of("torch")))
    except RuntimeError as error:
        missing[TORCH] = str(error)
    turns, failed = compete(contestants, steps=options.steps, rounds=options.rounds)
    missing |= failed
    rows = []
    for name, goal in GOALS.items():
        if name in missing:
            rows.append((f"images a second, of {name}'s", "no", ""))
            continue
        found = ratio(turns[name].wall, turns[OURS].wall)
        met = "met" if found.median >= goal else "not met"
        rows.append((f"images a second, of {name}'s", str(found), f"≥ {goal}: {met}"))
    first, second = _peaks(folder)
    growth = 100 * (second / first - 1)
    met = "met" if growth < _GROWTH else "not met"
    rows.append(
        (
            "peak MiB after one epoch and after two",
            f"{first:.0f}, {second:.0f}: {growth:+.1f} %",
            f"< {_GROWTH} %: {met}",
        )
    )
    held = COUNT * 224 * 224 * 3 / 2**20
    return Result(
        "streams",
        "Streamed images: parts of JPEG files of 500x375 pixels, resized to 224x224, batch 64",
        ("what", "figure [95 % interval]", "goal"),
        rows,
        (
            f"{COUNT:,} generated files ({held:,.0f} MiB if they were held in memory). "
            f"{options.rounds} rounds of {options.steps * BATCHES} batches.",
            *(f"{name}: {why}" for name, why in missing.items()),
        ),
        {name: dataclasses.asdict(taken) for name, taken in turns.items()},
    )


def generate(directory: pathlib.Path) -> pathlib.Path:
    """Writes a data folder of JPEG files, unless it is there; smooth, to be as large as photographs'."""
    ready = directory / ".ready"
    if ready.exists():
        return directory
    generator = np.random.default_rng(0)
    for role, count in (("train", COUNT), ("test", CLASSES)):
        for number in range(count):
            path = directory / role / str(number % CLASSES) / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            colours = Image.fromarray(generator.integers(0, 256, (94, 125, 3), np.uint8))
            colours.resize((500, 375), Image.Resampling.BICUBIC).save(path, quality=90)
    ready.touch()
    return directory


def _peaks(folder: str) -> tuple[float, float]:
    command = [sys.executable, "-m", "benchmarks.streams_row", "memory", folder]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    first, second = json.loads(child.stdout.splitlines()[-1])
    return first, second
