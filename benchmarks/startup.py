"""From the command to the first training step, beyond what importing TensorFlow takes."""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from benchmarks.contest import ROOT
from benchmarks.result import Result

GOAL_SECONDS = 10.0
_ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "TF_ENABLE_ONEDNN_OPTS": "1"}
# Ends the command once Keras has finished its first step.
_FIRST_STEP = """
import os, sys, time
from tfqkd.cli import train
from tfqkd import progress
progress.ProgressBar.on_train_batch_end = lambda *_: os._exit(7)
sys.exit(train.main(["train", *sys.argv[1:]]))
"""


def measure(options: argparse.Namespace) -> Result:
    """Times `bin/train` to its first step, and the import alone, in turn."""
    data = (
        ["--dataset=cifar10", f"--data_dir={options.data_dir}"]
        if options.data_dir
        else ["--dataset=digits"]
    )
    differences = []
    for _ in range(3):
        imported = _seconds([sys.executable, "-c", "import tensorflow"], 0)
        with tempfile.TemporaryDirectory() as directory:
            flags = [*data, f"--run_dir={pathlib.Path(directory) / 'run'}", "--teacher=none"]
            started = _seconds([sys.executable, "-c", _FIRST_STEP, *flags], 7)
        differences.append(started - imported)
    median = statistics.median(differences)
    verdict = f"≤ {GOAL_SECONDS:.0f}: {'met' if median <= GOAL_SECONDS else 'not met'}"
    return Result(
        "startup",
        "Seconds from the command to the end of the first training step, less importing TensorFlow",
        ("data", "median of 3", "range", "goal"),
        [
            (
                data[0].removeprefix("--dataset="),
                f"{median:.1f}",
                f"{min(differences):.1f} to {max(differences):.1f}",
                verdict if options.data_dir else "of CIFAR; give --data_dir",
            )
        ],
        ("Seconds of this machine, as the goal is one; the other parts give ratios only.",),
        differences,
    )


def _seconds(command: list[str], expected: int) -> float:
    begin = time.perf_counter()
    child = subprocess.run(command, env=_ENVIRONMENT, capture_output=True, text=True, check=False)
    if child.returncode != expected:
        raise RuntimeError(f"{command[-1]} failed: {child.stderr[-500:]}")
    return time.perf_counter() - begin
