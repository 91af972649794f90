"""One small finished run on the digits, which the tests of several rooms look at and must not change."""

import dataclasses
import os
import pathlib

import pytest

from tfqkd.storage import locked
from tfqkd.training.recipe import Recipe
from tfqkd.training.results import Results

RECIPE = Recipe(
    dataset="digits",
    crop_padding=1,
    flip=False,
    student="cnn2",
    teacher="cnn4",
    teacher_epochs=2,
    student_epochs=2,
    quantized_epochs=2,
    batch_size=64,
    learning_rate_schedule="cosine",
    quantized_learning_rate=0.05,
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
