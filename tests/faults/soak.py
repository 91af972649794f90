"""Trains for a long time, and says whether memory grows or steps slow down.

    python tests/faults/soak.py --minutes=60

Resident memory and time are taken after every epoch, all of which do the same work: steps, validation, two
checkpoints. The first tenth is left out: after it graphs are traced and buffers full. Ends with status 0 if
memory grew by less than 2 % and neither time of a step rose by 10 % from the first to the last fifth: the
processor's, by its median, which does not see a step wait; and the clock's, by the fastest tenth, since other
programs on the machine can only make an epoch longer.
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
from collections.abc import Callable

import numpy as np
import psutil

from tfqkd.compat import keras, tf
from tfqkd.data import ImageData, Split, load
from tfqkd.fronts.tfmot import front
from tfqkd.fronts.tfmot.strategy import RunStrategy
from tfqkd.recipe.recipe import Recipe
from tfqkd.training.execution import execution_of
from tfqkd.training.making import Maker
from tfqkd.training.presets import PAPER
from tfqkd.training.products import Products

_MINUTES_BETWEEN_LINES, _REPEATED, _FEWEST = 5, 20, 20


class TimeIsUpError(Exception):
    """The training has lasted as long as it was to."""


class Soak(keras.callbacks.Callback):
    """Takes resident memory and time after every epoch."""

    def __init__(self, minutes: float) -> None:
        super().__init__()
        self._begin, self._minutes = time.monotonic(), minutes
        self._process, self._said = psutil.Process(), 0
        self.steps = 0
        self.samples: list[tuple[float, float, float]] = []

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Takes a sample, or ends the training."""
        self.steps += self.params["steps"]
        memory = self._process.memory_info().rss / 2**20
        self.samples.append((time.monotonic(), time.process_time(), memory))
        passed = (time.monotonic() - self._begin) / 60
        if passed >= self._said + _MINUTES_BETWEEN_LINES:
            self._said = int(passed)
            print(f"{passed:.0f} min: {self.steps} steps, {memory:.1f} MiB", flush=True)
        if passed > self._minutes:
            raise TimeIsUpError


def main() -> int:
    """Runs the soak and prints what it measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    minutes = parser.parse_args().minutes
    recipe = Recipe(
        {
            "student.training.epochs": 0,
            "teacher.training.epochs": 0,
            "quantized.training.epochs": 10**6,
            "training.batch_size": 64,
            "data.crop_padding": 1,
            "data.flip": False,
            "quantize.step_update": "every_step",
            "data.validation_split": 0.1,
            "run.checkpoint_every": "200",
        },
        dataset="digits",
        student="cnn6",
        teacher="cnn32",
        schedule="constant",
        coefficient=0.5,
    )
    soak = Soak(minutes)
    with tempfile.TemporaryDirectory() as directory:
        data = _repeated(load("digits", validation_split=recipe.data.validation_split))
        strategy = RunStrategy(tf.distribute.get_strategy())
        store = Products(pathlib.Path(directory))
        maker = Maker(data, store, front, strategy, execution_of(recipe))
        with contextlib.suppress(TimeIsUpError):
            maker.make(PAPER(recipe)[-1], (soak,))
    return _report(soak.samples, soak.steps)


def _repeated(data: ImageData) -> ImageData:
    """Epochs as long as those of real data: what is done once an epoch must not be what is measured."""
    images, labels = data.train.images, data.train.labels
    train = Split(np.tile(images, (_REPEATED, 1, 1, 1)), np.tile(labels, _REPEATED))
    return dataclasses.replace(data, train=train)


def _report(samples: list[tuple[float, float, float]], steps: int) -> int:
    settled = samples[len(samples) // 10 :]
    if len(settled) < _FEWEST:
        print(f"A soak needs {_FEWEST} epochs after its first tenth; it had {len(settled)}.")
        return 1
    memory = [each[2] for each in settled]
    # The first and the last twentieth, so that one sample does not decide.
    part = max(len(memory) // 20, 1)
    growth = statistics.median(memory[-part:]) / statistics.median(memory[:part]) - 1
    clock, processor = (
        [later[column] - sooner[column] for sooner, later in itertools.pairwise(settled)]
        for column in (0, 1)
    )
    found = {
        "minutes": (samples[-1][0] - samples[0][0]) / 60,
        "steps": steps,
        "memory_growth": growth,
        "clock_ratio": _ratio(clock, lambda seconds: sorted(seconds)[len(seconds) // 10]),
        "processor_ratio": _ratio(processor, statistics.median),
    }
    print(json.dumps(found, indent=2))
    slower = max(found["clock_ratio"], found["processor_ratio"])
    return 0 if growth < 0.02 and slower < 1.1 else 1


def _ratio(seconds: list[float], typical: Callable[[list[float]], float]) -> float:
    """What is typical of the last fifth, in parts of what is typical of the first."""
    fifth = len(seconds) // 5
    return typical(seconds[-fifth:]) / typical(seconds[:fifth])


if __name__ == "__main__":
    sys.exit(main())
