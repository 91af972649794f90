"""Trains for a long time, and says whether memory grows or steps slow down.

    python tests/faults/soak.py --minutes=60

Resident memory, and the time of every hundred steps, are taken from the first tenth of the run on: by then
graphs are traced and buffers full. Time is that of the processor, which other programs on the machine change
little; that of the clock is printed beside it. Ends with status 0 if memory grew by less than 2 % and the
medians of the first and the last fifth of the step times differ by less than 10 %.
"""

import argparse
import contextlib
import dataclasses
import itertools
import json
import pathlib
import statistics
import sys
import tempfile
import time

import numpy as np
import psutil

from tfqkd.compat import keras, tf
from tfqkd.data import ImageData, Split, load
from tfqkd.training.products import Products
from tfqkd.training.recipe import Recipe
from tfqkd.training.stages import Stages

_MINUTES_BETWEEN_LINES, _REPEATED = 5, 20


class TimeIsUpError(Exception):
    """The training has lasted as long as it was to."""


class Soak(keras.callbacks.Callback):
    """Takes resident memory and time every hundred steps."""

    def __init__(self, minutes: float) -> None:
        super().__init__()
        self._begin, self._minutes = time.monotonic(), minutes
        self._process, self._steps, self._said = psutil.Process(), 0, 0
        self.samples: list[tuple[float, float, float]] = []

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Takes a sample, or ends the training."""
        self._steps += 1
        if self._steps % 100 == 0:
            memory = self._process.memory_info().rss / 2**20
            self.samples.append((time.monotonic(), time.process_time(), memory))
        passed = (time.monotonic() - self._begin) / 60
        if self.samples and passed >= self._said + _MINUTES_BETWEEN_LINES:
            self._said = int(passed)
            print(
                f"{passed:.0f} min: {self._steps} steps, {self.samples[-1][2]:.1f} MiB", flush=True
            )
        if passed > self._minutes:
            raise TimeIsUpError


def main() -> int:
    """Runs the soak and prints what it measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    minutes = parser.parse_args().minutes
    recipe = Recipe(
        dataset="digits",
        student="cnn6",
        teacher="cnn32",
        student_epochs=0,
        teacher_epochs=0,
        quantized_epochs=10**6,
        batch_size=64,
        crop_padding=1,
        flip=False,
        step_update="every_step",
        schedule="constant",
        coefficient=0.5,
        validation_split=0.1,
        checkpoint_every="200",
    )
    soak = Soak(minutes)
    with tempfile.TemporaryDirectory() as directory:
        data = _repeated(load("digits", validation_split=recipe.validation_split))
        strategy = tf.distribute.get_strategy()
        stages = Stages(
            recipe, data, Products(pathlib.Path(directory)), strategy, callbacks=(soak,)
        )
        with contextlib.suppress(TimeIsUpError):
            stages.quantized()
    return _report(soak.samples)


def _repeated(data: ImageData) -> ImageData:
    """Epochs as long as those of real data: what is done once an epoch must not be what is measured."""
    images, labels = data.train.images, data.train.labels
    train = Split(np.tile(images, (_REPEATED, 1, 1, 1)), np.tile(labels, _REPEATED))
    return dataclasses.replace(data, train=train)


def _report(samples: list[tuple[float, float, float]]) -> int:
    settled = samples[len(samples) // 10 :]
    memory = [each[2] for each in settled]
    # The first and the last twentieth, so that one sample does not decide.
    part = max(len(memory) // 20, 1)
    growth = statistics.median(memory[-part:]) / statistics.median(memory[:part]) - 1
    drifts = []
    for column in (0, 1):
        seconds = [b[column] - a[column] for a, b in itertools.pairwise(settled)]
        fifth = max(len(seconds) // 5, 1)
        drifts.append(statistics.median(seconds[-fifth:]) / statistics.median(seconds[:fifth]))
    found = {
        "minutes": (samples[-1][0] - samples[0][0]) / 60,
        "steps": 100 * len(samples),
        "memory_growth": growth,
        "step_time_ratio": drifts[0],
        "processor_time_ratio": drifts[1],
    }
    print(json.dumps(found, indent=2))
    return 0 if growth < 0.02 and drifts[1] < 1.1 else 1


if __name__ == "__main__":
    sys.exit(main())
