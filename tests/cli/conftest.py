import pathlib
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image
from training.finished import FinishedRun, finished_run

from tfqkd.compat import keras


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> FinishedRun:
    return finished_run(tmp_path_factory)


@pytest.fixture
def no_tensorflow(monkeypatch):
    """Lets a test fail if a command gets as far as loading TensorFlow."""

    def load(version=2):
        raise AssertionError("The command went on to load TensorFlow.")

    for command in ("evaluate", "export"):
        monkeypatch.setattr(f"tfqkd.cli.{command}.load_tensorflow", load)
    for command in ("train", "study"):
        monkeypatch.setattr(f"tfqkd.cli.{command}.load_keras", load)


class Wide(NamedTuple):
    """Pictures of the class that their middle shows, and a model of that.

    Attributes:
        model: The model's file.
        data: Flags of a command that say which pictures, and in what size.
    """

    model: pathlib.Path
    data: list[str]


@pytest.fixture
def wide(tmp_path):
    colours = ((200, 0, 0), (0, 200, 0))
    for role in ("train", "test"):
        for label in range(2):
            picture = Image.new("RGB", (20, 4), colours[1 - label])
            picture.paste(colours[label], (8, 0, 12, 4))
            (tmp_path / "wide" / role / str(label)).mkdir(parents=True)
            picture.save(tmp_path / "wide" / role / str(label) / "0.png")
    dense = keras.layers.Dense(2, use_bias=False)
    model = keras.Sequential([keras.Input((2, 2, 3)), keras.layers.Flatten(), dense])
    dense.kernel.assign(np.tile(np.eye(3, 2), (4, 1)))
    model.save(tmp_path / "colour.keras")
    return Wide(
        tmp_path / "colour.keras", [f"--dataset=folder:{tmp_path / 'wide'}", "--image_size=2"]
    )
