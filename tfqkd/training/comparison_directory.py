"""The directory of a comparison: its recipe and seeds, and the rows that came out."""

import dataclasses
import json
import pathlib
import statistics
from collections.abc import Iterable
from typing import Any

from tfqkd.storage import write_atomically
from tfqkd.training.directory import (
    COMPARISON_RECIPE_FILE,
    RECIPE_FILE,
    is_comparison,
    read_json,
    refuse_differences,
)
from tfqkd.training.recipe import Recipe

COMPARISON_FILE = "comparison.json"
_SCOPE = {"recipe": dict, "seeds": [int], "controls": bool}
_COUNTED = {"quantized_share": (int, float), "file_bytes": (int, type(None))}
_ROWS = {"rows": [{"name": str, "parameters": int, "accuracies": [(int, float)], **_COUNTED}]}


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a comparison.

    Attributes:
        name: What was trained.
        parameters: Trainable parameters.
        accuracies: Test accuracy of each seed, 0 to 1.
        quantized_share: Share of the parameters that are quantized, 0 to 1.
        file_bytes: Of the smallest exported file; None if nothing was exported.
    """

    name: str
    parameters: int
    accuracies: tuple[float, ...]
    quantized_share: float = 0.0
    file_bytes: int | None = None

    @property
    def mean(self) -> float:
        """Mean accuracy."""
        return statistics.fmean(self.accuracies)

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation over the seeds; None for a single one."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None

    def accuracy_text(self) -> str:
        """Returns the accuracy in per cent, with the deviation."""
        spread = "" if self.deviation is None else f" ± {100 * self.deviation:.2f}"
        return f"{100 * self.mean:.2f}{spread}"


class ComparisonDirectory:
    """A directory that belongs to one recipe at some seeds.

    Args:
        path: Made by `begin` if it is missing.
        recipe: The recipe with the annealed coefficient.
        seeds: Of the runs.
        controls: Whether it has the rows of the controls.

    Raises:
        ValueError: If the directory belongs to another comparison, or to a single run; the error lists the
            differences.
    """

    def __init__(
        self, path: pathlib.Path, recipe: Recipe, seeds: Iterable[int], controls: bool = False
    ) -> None:
        self.path = path
        self.recipe = recipe
        self.seeds = list(seeds)
        self.controls = controls
        if (path / RECIPE_FILE).exists():
            raise ValueError(
                "A comparison needs a directory of its own. "
                f"Received: {path}, which holds a single run. Give another --run_dir, or leave out --compare."
            )
        if is_comparison(path):
            there = _read_scope(path)
            self.recipe = recipe.resumed_as(there["recipe"])
            differences = there["recipe"].differences(self.recipe)
            for name, value in self._scope().items():
                if there[name] != value:
                    differences[name] = (there[name], value)
            refuse_differences(path, differences)

    @classmethod
    def read(cls, path: pathlib.Path) -> "ComparisonDirectory":
        """Returns the directory of a comparison that was begun.

        Raises:
            ValueError: If there is none.
        """
        if not (path / COMPARISON_RECIPE_FILE).exists():
            raise ValueError(
                "A comparison must have begun in the directory, by bin/train --compare. "
                f"Received: {path}, which has no {COMPARISON_RECIPE_FILE}."
            )
        return cls(path, **_read_scope(path))

    def begin(self) -> None:
        """Makes the directory the comparison's."""
        self.path.mkdir(parents=True, exist_ok=True)
        recipe = json.loads(self.recipe.to_json())
        text = json.dumps({**self._scope(), "recipe": recipe}, indent=2)
        write_atomically(self.path / COMPARISON_RECIPE_FILE, text + "\n")

    def _scope(self) -> dict[str, Any]:
        return {"seeds": self.seeds, "controls": self.controls}

    def rows(self) -> list[Row] | None:
        """Returns the rows of a comparison that is done, or None."""
        file = self.path / COMPARISON_FILE
        if not (is_comparison(self.path) and file.exists()):
            return None
        return [
            Row(
                row["name"],
                row["parameters"],
                tuple(row["accuracies"]),
                row["quantized_share"],
                row["file_bytes"],
            )
            for row in read_json(file, _ROWS)["rows"]
        ]

    def write_rows(self, rows: list[Row]) -> None:
        """Writes the rows, which says that the comparison is done."""
        listed: list[dict[str, Any]] = [
            {**dataclasses.asdict(row), "mean": row.mean, "deviation": row.deviation}
            for row in rows
        ]
        text = json.dumps({"seeds": self.seeds, "rows": listed}, indent=2)
        write_atomically(self.path / COMPARISON_FILE, text + "\n")


def _read_scope(path: pathlib.Path) -> dict[str, Any]:
    scope = read_json(path / COMPARISON_RECIPE_FILE, _SCOPE)
    return {**scope, "recipe": Recipe.from_json(json.dumps(scope["recipe"]))}
