"""From the command to the first training step, beyond what importing TensorFlow takes."""

import argparse
import dataclasses
import importlib.util
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from benchmarks.contest import ROOT
from benchmarks.result import Result

_ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "TF_ENABLE_ONEDNN_OPTS": "1"}
# Ends the command once Keras has finished its first step.
_FIRST_STEP = """
import os, sys, time
from tfqkd.cli import train
from tfqkd import progress
progress.ProgressBar.on_train_batch_end = lambda *_: os._exit(7)
sys.exit(train.main(["train", *sys.argv[1:]]))
"""


@dataclasses.dataclass(frozen=True)
class Start:
    """A command, and what is subtracted from its time.

    Attributes:
        name: In the table.
        flags: Of `bin/train`.
        imported: What is imported by itself.
        goal: Seconds; None without one.
        variables: Of the environment.
    """

    name: str
    flags: tuple[str, ...]
    imported: str
    goal: float | None
    variables: dict[str, str]


def measure(options: argparse.Namespace) -> Result:
    """Times each command to its first step, and the import alone, in turn."""
    starts, differences = _starts(options.data_dir), {}
    for start in starts:
        differences[start.name] = [_difference(start) for _ in range(3)]
    return Result(
        "startup",
        "Seconds from the command to the end of the first training step, less the import of what trains",
        ("command", "median of 3", "range", "goal"),
        [_row(start, differences[start.name]) for start in starts],
        ("Seconds of this machine, as the goal is one; the other parts give ratios only.",),
        differences,
    )


def _starts(data_dir: str) -> list[Start]:
    data = ("--dataset=cifar10", f"--data_dir={data_dir}") if data_dir else ("--dataset=digits",)
    goal = 10.0 if data_dir else None
    starts = [Start(f"tfmot, {data[0][10:]}", (*data, "--teacher=none"), "tensorflow", goal, {})]
    for backend, name in (("jax", "JAX"), ("tensorflow", "TensorFlow")):
        if importlib.util.find_spec(backend):
            starts += _with_keras_3(name, {"KERAS_BACKEND": backend})
    return starts


def _with_keras_3(backend: str, variables: dict[str, str]) -> list[Start]:
    flags = (f"--flagfile={ROOT / 'configs' / 'quickstart.flags'}", "--run.keras=3")
    name = f"Keras 3 on {backend}, the quickstart"
    return [
        Start(f"{name} without formats", (*flags, "--formats="), "keras", 5.0, variables),
        Start(name, flags, "keras", 5.0, variables),
    ]


def _row(start: Start, seconds: list[float]) -> tuple[str, ...]:
    median = statistics.median(seconds)
    verdict = "none"
    if start.goal is not None:
        verdict = f"≤ {start.goal:.0f}: {'met' if median <= start.goal else 'not met'}"
    return start.name, f"{median:.1f}", f"{min(seconds):.1f} to {max(seconds):.1f}", verdict


def _difference(start: Start) -> float:
    imported = _seconds([sys.executable, "-c", f"import {start.imported}"], 0, start.variables)
    with tempfile.TemporaryDirectory() as directory:
        flags = [*start.flags, f"--run_dir={pathlib.Path(directory) / 'run'}"]
        command = [sys.executable, "-c", _FIRST_STEP, *flags]
        return _seconds(command, 7, start.variables) - imported


def _seconds(command: list[str], expected: int, variables: dict[str, str]) -> float:
    begin = time.perf_counter()
    child = subprocess.run(
        command, env={**_ENVIRONMENT, **variables}, capture_output=True, text=True, check=False
    )
    if child.returncode != expected:
        raise RuntimeError(f"{command[-1]} failed: {child.stderr[-500:]}")
    return time.perf_counter() - begin
