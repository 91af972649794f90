"""A comparison: the same recipe without a teacher, with a fixed and with an annealed coefficient."""

import dataclasses
import json
import pathlib
import statistics
from collections.abc import Iterable
from typing import Any

from tfqkd.reporting.figures import plot_comparison
from tfqkd.training.directory import write_atomically
from tfqkd.training.recipe import Recipe
from tfqkd.training.run import TEACHER_ROLE, run
from tfqkd.training.settings import NO_TEACHER
from tfqkd.training.stages import coefficient_schedule

COMPARISON_FILE = "comparison.json"
PLOT_FILE = "comparison.png"


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a comparison.

    Attributes:
        name: What was trained.
        parameters: Trainable parameters.
        accuracies: Test accuracy of each seed, 0 to 1.
    """

    name: str
    parameters: int
    accuracies: tuple[float, ...]

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


def variants(recipe: Recipe) -> dict[str, Recipe]:
    """Returns the recipes that a comparison runs, by the name of their row.

    The annealed one is the recipe itself, and the only one that is exported. The fixed one holds its
    coefficient at the mean of the schedule's two ends, so that both weigh the soft loss alike over the
    whole training.

    Raises:
        ValueError: If the recipe has no teacher or no annealed coefficient to compare.
    """
    if not recipe.has_teacher or recipe.schedule == "constant":
        raise ValueError(
            "A comparison needs a recipe with a teacher and an annealed coefficient. "
            f"Received: teacher={recipe.teacher}, coefficient={recipe.coefficient}, "
            f"schedule={recipe.schedule}. Set --teacher and --schedule=gradual."
        )
    kind = "ternary" if recipe.bits == 2 else f"{recipe.bits}-bit"
    schedule = coefficient_schedule(recipe)
    middle = (schedule(0.0) + schedule(1.0)) / 2
    control = dataclasses.replace(recipe, formats=())
    fixed = dataclasses.replace(control, schedule="constant", coefficient=middle)
    return {
        f"{kind}, no teacher": dataclasses.replace(control, teacher=NO_TEACHER),
        f"{kind}, teacher, fixed coefficient": fixed,
        f"{kind}, teacher, annealed coefficient": recipe,
    }


def compare(
    recipe: Recipe, directory: pathlib.Path, seeds: Iterable[int], command: list[str] | None = None
) -> list[Row]:
    """Runs every variant of a recipe for every seed, with shared teachers and float students.

    Args:
        recipe: The recipe with the annealed coefficient.
        directory: Gets a run directory for each variant and seed, `products`, `comparison.json` and a plot.
        seeds: Seeds of the runs; teacher and float student are trained for each, unless
            `recipe.pretrain_seed` fixes theirs.
        command: The command line, kept in every run directory.

    Returns:
        The rows: float teacher, float student, then the variants.
    """
    accuracies: dict[str, dict[int, float]] = {}
    parameters: dict[str, int] = {}
    seeds = list(seeds)
    for seed in seeds:
        for name, variant in variants(recipe).items():
            seeded = dataclasses.replace(variant, seed=seed)
            results = run(seeded, run_path(directory, name, seed), directory / "products", command)
            *pretrained, final = results["models"]
            for model in pretrained:
                accuracies.setdefault(model["role"], {})[seed] = model["accuracy"]
                parameters[model["role"]] = model["parameters"]
            accuracies.setdefault(name, {})[seed] = final["accuracy"]
            parameters[name] = final["parameters"]
    teachers = [role for role in accuracies if role.startswith(TEACHER_ROLE)]
    order = [*teachers, "float student", *variants(recipe)]
    rows = [
        Row(name, parameters[name], tuple(accuracies[name][seed] for seed in seeds))
        for name in order
    ]
    write_atomically(directory / COMPARISON_FILE, _to_json(rows, seeds))
    plot_comparison({row.name: row.accuracies for row in rows}, directory / PLOT_FILE)
    return rows


def run_path(directory: pathlib.Path, variant: str, seed: int) -> pathlib.Path:
    """Returns the run directory of a variant and seed."""
    return directory / f"{variant.replace(', ', '-').replace(' ', '_')}-seed{seed}"


def _to_json(rows: list[Row], seeds: list[int]) -> str:
    listed: list[dict[str, Any]] = [
        {**dataclasses.asdict(row), "mean": row.mean, "deviation": row.deviation} for row in rows
    ]
    return json.dumps({"seeds": seeds, "rows": listed}, indent=2) + "\n"
