"""What a comparison has trained: each row with each seed."""

import dataclasses
import pathlib
import tempfile

from tfqkd.compat import keras
from tfqkd.export.exporter import export
from tfqkd.recipe.recipe import Recipe
from tfqkd.reporting.results import rows_of
from tfqkd.training.directory import read_recipe
from tfqkd.training.history import read_history
from tfqkd.training.products import HISTORY_FILE
from tfqkd.training.results import ModelResult, Results

PRETRAINED = ("float teacher", "float student")
"""The rows that the others share, in the order of the table."""


@dataclasses.dataclass(frozen=True)
class Done:
    """A row of the table, trained with one seed.

    Attributes:
        row: Its name.
        seed: With which it was trained.
        recipe: Of the comparison.
        run: The directory of the comparison.
        figures: What was measured.
        class_names: Of the data set.
    """

    row: str
    seed: int
    recipe: Recipe
    run: pathlib.Path
    figures: ModelResult
    class_names: tuple[str, ...]

    @property
    def model(self) -> pathlib.Path:
        """Its Keras file; the history lies beside it."""
        return self.run / self.figures.model

    def history(self) -> list[dict[str, float]]:
        """Returns a dictionary for each epoch of its own stage."""
        return read_history(self.model.with_name(HISTORY_FILE))

    def minutes(self) -> float:
        """Returns how long its own stage trained."""
        return sum(epoch["seconds"] for epoch in self.history()) / 60

    def file_bytes(self) -> int:
        """Returns the size of its LiteRT file: 2-bit codes if it is ternary, else float32."""
        form = "litert-int2" if self.figures.quantized_share else "litert-float32"
        model = keras.models.load_model(self.model, compile=False)
        with tempfile.TemporaryDirectory() as directory:
            return export(model, directory, form, class_names=self.class_names)[0].bytes


def done_rows(directory: pathlib.Path) -> dict[str, list[Done]]:
    """Returns the rows of a finished comparison, each by seed."""
    recipe, results = read_recipe(directory), Results.read(directory)
    rows: dict[str, list[Done]] = {}
    for row in rows_of(results):
        for model in row.models:
            seed = recipe.run.seed if model.seed is None else model.seed
            one = Done(row.label, seed, recipe, directory, model, results.class_names)
            rows.setdefault(row.label, []).append(one)
    return {row: sorted(done, key=lambda one: one.seed) for row, done in rows.items()}


def row_path(directory: pathlib.Path, row: str, seed: int) -> pathlib.Path:
    """Returns where a row of a seed is kept."""
    name = row.replace(", ", "-").replace("'", "").replace(" ", "_")
    return directory / f"{name}-seed{seed}"
