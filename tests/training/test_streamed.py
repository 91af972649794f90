"""A whole run on pictures that are read from the disk when they are asked for."""

import csv

import numpy as np
import pytest
from PIL import Image

from tfqkd.data import load
from tfqkd.fronts.trainer import Watcher
from tfqkd.recipe.recipe import Recipe
from tfqkd.training.run import run

SETTINGS = {
    "data.image_size": 8,
    "data.resized_crop": True,
    "data.operations": 1,
    "data.mixup": 0.2,
    "data.validation_split": 0.25,
    "training.batch_size": 4,
    "student.training.epochs": 0,
    "quantized.training.epochs": 2,
    "training.batch_norm": "plain",
    "run.checkpoint_every": "2",
}


class Stop(Watcher):
    def __init__(self):
        self._steps = 0

    def on_train_batch_end(self, batch, logs=None):
        self._steps += 1
        if self._steps == 9:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    for role, count in (("train", 32), ("test", 8)):
        for number in range(count):
            path = root / role / "ab"[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            size = generator.integers(9, 20, 2)
            Image.fromarray(generator.integers(0, 256, (*size, 3), np.uint8)).save(path)
    return f"folder:{root}"


@pytest.mark.slow
def test_a_run_on_streamed_pictures_goes_on_as_if_it_had_not_been_interrupted(folder, tmp_path):
    recipe = Recipe(SETTINGS, dataset=folder, student="cnn2", teacher="none", formats=())
    streamed = recipe.changed({"data.stream": "on"})
    at_once, in_parts = tmp_path / "at_once", tmp_path / "in_parts"
    run(streamed, at_once)
    with pytest.raises(KeyboardInterrupt):
        run(streamed, in_parts, callbacks=[Stop()])
    # By itself it would hold so few in memory, and begin anew.
    run(recipe, in_parts)
    histories = []
    for directory in (at_once, in_parts):
        (file,) = directory.glob("products/quantized-*/history.csv")
        rows = list(csv.DictReader(file.read_text().splitlines()))
        histories.append([{k: v for k, v in row.items() if k != "seconds"} for row in rows])
    assert len(histories[0]) == 2 and histories[0] == histories[1]
    assert (at_once / "results.json").read_text() == (in_parts / "results.json").read_text()
    assert load(folder, image_size=8).mean == load(folder, image_size=8, stream="on").mean
