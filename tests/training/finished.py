"""One small finished run on the digits, which the tests of several rooms look at and must not change."""

import dataclasses
import os
import pathlib

import pytest

from tfqkd.recipe.recipe import Recipe
from tfqkd.storage import locked
from tfqkd.training.results import Results

RECIPE = Recipe(
    {
        "data.crop_padding": 1,
        "data.flip": False,
        "teacher.training.epochs": 2,
        "student.training.epochs": 2,
        "quantized.training.epochs": 2,
        "training.batch_size": 64,
        "training.schedule": "cosine",
        "quantized.training.learning_rate": 0.05,
    },
    dataset="digits",
    student="cnn2",
    teacher="cnn4",
    formats=("litert-int8",),
)


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    recipe: Recipe
    directory: pathlib.Path
    results: Results

    @property
    def products(self) -> pathlib.Path:
        return self.directory / "products"

    def model_path(self, role: str) -> pathlib.Path:
        (model,) = [model for model in self.results.models if model.label.startswith(role)]
        return self.directory / model.model


def finished_run(factory: pytest.TempPathFactory) -> FinishedRun:
    """Makes the run, or finds it: a run that is done returns its results at once."""
    from tfqkd.training.run import run

    root = factory.getbasetemp()
    # The processes of one pytest-xdist call share it: the first makes it, the others wait.
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    with locked(root / "finished.lock"):
        return FinishedRun(RECIPE, root / "finished", run(RECIPE, root / "finished"))
