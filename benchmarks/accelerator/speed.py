"""Images a second of `bin/train`, of several processes on one device."""

import argparse
import itertools
import pathlib
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable

import numpy as np

from benchmarks.result import Result

KINDS = {"float": ["--teacher=none", "--bits=32"], "ternary": ["--teacher=none"]}
KINDS["ternary, live teacher"] = []
# The last stage alone is trained, and no longer than it is watched.
ENDLESS = ["--training.epochs=0", "--quantized.training.epochs=300", "--training.batch_norm=moving"]


def measure(o: argparse.Namespace, start: Callable[..., subprocess.Popen]) -> int:
    """Writes the table of the kinds that `--rows` matches.

    All processes of a program are started, and all but one, two, four, ... held.
    """
    with np.load(o.file) as arrays:
        images = len(arrays["train_labels"])
    counts, rows = [2**power for power in range(o.processes.bit_length())], []
    kinds = {kind: flags for kind, flags in KINDS.items() if re.fullmatch(o.rows, kind)}
    for (kind, flags), batch in itertools.product(kinds.items(), (128, 512)):
        children: dict[pathlib.Path, subprocess.Popen] = {}
        for number in range(o.processes):
            name = f"{len(rows)}-{number}"
            own = [f"--products={o.folder / name / 'products'}", f"--training.batch_size={batch}"]
            children[o.folder / name] = start(o, name, [*flags, *ENDLESS, *own])
        try:
            made = [epochs_a_second(children, count, o.turn) for count in counts]
        finally:
            for folder, child in children.items():
                child.kill()
                child.wait()
                shutil.rmtree(folder, ignore_errors=True)
        rows.append((kind, batch, *(f"{each * (images // batch * batch):,.0f}" for each in made)))
        headings = ("program", "batch", *(f"images/s by {count}" for count in counts))
        Result("speed", f"bin/train {' '.join(o.flags)}", headings, rows).write(o.folder)
        print(*rows[-1], flush=True)
    return 0


def epochs_a_second(
    children: dict[pathlib.Path, subprocess.Popen], count: int, seconds: float
) -> float:
    """Returns the epochs a second that the first processes make together while the others are held."""
    while not all(map(epochs, children)):
        if any(child.poll() is not None for child in children.values()):
            raise RuntimeError("A training has ended; its text says why.")
        time.sleep(0.2)
    for index, child in enumerate(children.values()):
        child.send_signal(signal.SIGCONT if index < count else signal.SIGSTOP)
    # What is held leaves the device at the end of its epoch.
    time.sleep(seconds / 3)
    seen: dict[pathlib.Path, list[tuple[int, float]]] = {
        folder: [] for folder in [*children][:count]
    }
    end = time.monotonic() + seconds
    while time.monotonic() < end or any(len(each) < 3 for each in seen.values()):
        for folder, each in seen.items():
            done = epochs(folder)
            if not each or done > each[-1][0]:
                each.append((done, time.monotonic()))
        time.sleep(0.005)
    # The first look is at no epoch's end.
    return sum((b[0] - a[0]) / (b[1] - a[1]) for _, a, *_, b in seen.values())


def epochs(folder: pathlib.Path) -> int:
    """Returns how many epochs a training has made."""
    for file in folder.glob("products/quantized-*.partial/history.csv"):
        return max(file.read_text().count("\n") - 1, 0)
    return 0
