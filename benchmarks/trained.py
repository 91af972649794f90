"""What a comparison has trained so far: each row with each seed."""

import dataclasses
import pathlib
import tempfile
from typing import Any

from tfqkd.compat import keras
from tfqkd.export.exporter import export
from tfqkd.training.comparison import run_path, variants
from tfqkd.training.comparison_directory import ComparisonDirectory
from tfqkd.training.directory import RESULTS_FILE, read_recipe, read_results
from tfqkd.training.fitting import HISTORY_FILE
from tfqkd.training.history import read_history
from tfqkd.training.recipe import Recipe
from tfqkd.training.run import TEACHER_ROLE
from tfqkd.training.settings import STUDENT

PRETRAINED = (TEACHER_ROLE, "float student")
"""The rows that the others share, in the order of the table."""


@dataclasses.dataclass(frozen=True)
class Done:
    """A row of the table, trained with one seed.

    Attributes:
        row: Its name.
        seed: With which it was trained.
        recipe: Of the run that trained it.
        run: The directory of that run.
        figures: Its entry in the run's `results.json`.
        class_names: Of the data set.
    """

    row: str
    seed: int
    recipe: Recipe
    run: pathlib.Path
    figures: dict[str, Any]
    class_names: tuple[str, ...]

    @property
    def model(self) -> pathlib.Path:
        """Its Keras file; the history lies beside it."""
        return self.run / self.figures["model"]

    def history(self) -> list[dict[str, float]]:
        """Returns a dictionary for each epoch of its own stage."""
        return read_history(self.model.with_name(HISTORY_FILE))

    def minutes(self) -> float:
        """Returns how long its own stage trained."""
        return sum(epoch["seconds"] for epoch in self.history()) / 60

    def file_bytes(self) -> int:
        """Returns the size of its LiteRT file: 2-bit codes if it is ternary, else float32."""
        form = "litert-int2" if self.figures.get("quantized_share") else "litert-float32"
        model = keras.models.load_model(self.model, compile=False)
        with tempfile.TemporaryDirectory() as directory:
            return export(model, directory, form, class_names=self.class_names)[0].bytes


def done_rows(comparison: ComparisonDirectory) -> dict[str, list[Done]]:
    """Returns what is done of each row of a comparison, finished or not, by seed."""
    named = variants(comparison.recipe, comparison.controls)
    rows: dict[str, dict[int, Done]] = {name: {} for name in (*PRETRAINED, *named)}
    for name in named:
        for seed in comparison.seeds:
            run = run_path(comparison.path, name, seed)
            if not (run / RESULTS_FILE).exists():
                continue
            results, own = read_results(run), read_recipe(run)
            *before, last = results["models"]
            for row, figures in ((name, last), *((model["role"], model) for model in before)):
                at = seed if row == name else own.seed_of(STUDENT)
                rows[row][at] = Done(row, at, own, run, figures, tuple(results["class_names"]))
    return {row: [at[seed] for seed in sorted(at)] for row, at in rows.items() if at}
