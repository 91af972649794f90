"""A comparison: the same recipe without a teacher, with a fixed and with an annealed coefficient."""

import dataclasses
import pathlib
from collections.abc import Iterable

from tfqkd.fronts import choose
from tfqkd.reporting.figures import plot_comparison
from tfqkd.training.comparison_directory import ComparisonDirectory, Row
from tfqkd.training.plans import coefficient_schedule
from tfqkd.training.precision import with_precision
from tfqkd.training.recipe import Recipe
from tfqkd.training.run import TEACHER_ROLE, run
from tfqkd.training.settings import FLOAT_BITS, NO_TEACHER, STUDENT

PLOT_FILE = "comparison.png"


def variants(recipe: Recipe, controls: bool = False) -> dict[str, Recipe]:
    """Returns the recipes that a comparison runs, by the name of their row.

    The annealed one is the recipe itself, and the only one that is exported. The fixed one holds its
    coefficient at the mean of the schedule's two ends, so that both weigh the soft loss alike over the
    whole training.

    Args:
        recipe: The recipe with the annealed coefficient.
        controls: Whether two more show what is not the teacher's doing: the float student trained on for
            the same epochs, and the quantized one with its annealed (1-λ)·hard alone.

    Raises:
        ValueError: If the recipe has no teacher or no annealed coefficient to compare.
    """
    if not recipe.has_teacher or recipe.schedule == "constant":
        raise ValueError(
            "A comparison needs a recipe with a teacher and an annealed coefficient. "
            f"Received: teacher={recipe.teacher}, coefficient={recipe.coefficient}, "
            f"schedule={recipe.schedule}. Set --teacher and --schedule=gradual."
        )
    kind = recipe.kind
    schedule = coefficient_schedule(recipe)
    middle = (schedule(0.0) + schedule(1.0)) / 2
    unexported = dataclasses.replace(recipe, formats=())
    alone = dataclasses.replace(unexported, teacher=NO_TEACHER)
    fixed = dataclasses.replace(unexported, schedule="constant", coefficient=middle)
    found = {f"{kind}, no teacher": alone}
    if controls:
        # Where the recipe itself is float, its row without a teacher is this control.
        found = {"float, no teacher": _floating(alone), **found}
        found[f"{kind}, teacher's term off"] = dataclasses.replace(alone, soft_loss="none")
    found[f"{kind}, teacher, fixed coefficient"] = fixed
    found[f"{kind}, teacher, annealed coefficient"] = recipe
    return found


def _floating(recipe: Recipe) -> Recipe:
    return dataclasses.replace(
        recipe,
        bits=FLOAT_BITS,
        activation_bits=FLOAT_BITS,
        gradient_bits=FLOAT_BITS,
        layer_bits=(),
        gradual_bits=(),
        gradual_share=(),
    )


def compare(
    recipe: Recipe,
    directory: pathlib.Path,
    seeds: Iterable[int],
    command: list[str] | None = None,
    *,
    controls: bool = False,
    products: pathlib.Path | None = None,
) -> list[Row]:
    """Runs every variant of a recipe for every seed, with shared teachers and float students.

    A comparison that is done returns its rows at once.

    Args:
        recipe: The recipe with the annealed coefficient.
        directory: Gets a run directory for each variant and seed, `comparison_recipe.json`,
            `comparison.json` and a plot.
        seeds: Seeds of the runs; teacher and float student are trained for each, unless
            `recipe.pretrain_seed` fixes theirs.
        command: The command line, kept in every run directory.
        controls: See `variants`.
        products: Where the stages' products are kept; `directory/products` if None.

    Returns:
        The rows: float teacher, float student, then the variants.

    Raises:
        ValueError: If there is nothing to compare, or the directory belongs to another comparison or run.
    """
    accuracies: dict[str, dict[int, float]] = {}
    parameters: dict[str, int] = {}
    shares: dict[str, float] = {}
    file_bytes: dict[str, int] = {}
    seeds = list(seeds)
    products = products or directory / "products"
    comparison = ComparisonDirectory(directory, recipe, seeds, controls)
    done = comparison.rows()
    if done:
        return done
    comparison.recipe = with_precision(comparison.recipe, choose())
    named = variants(comparison.recipe, controls)
    comparison.begin()
    for seed in seeds:
        for name, variant in named.items():
            seeded = dataclasses.replace(variant, seed=seed)
            results = run(seeded, run_path(directory, name, seed), products, command)
            *pretrained, final = results["models"]
            for model in pretrained:
                # A network that all seeds share counts once.
                shared = accuracies.setdefault(model["role"], {})
                shared[seeded.seed_of(STUDENT)] = model["accuracy"]
                parameters[model["role"]] = model["parameters"]
            accuracies.setdefault(name, {})[seed] = final["accuracy"]
            parameters[name] = final["parameters"]
            shares[name] = final["quantized_share"]
            if results["export"]:
                file_bytes[name] = min(report["bytes"] for report in results["export"])
    teachers = [role for role in accuracies if role.startswith(TEACHER_ROLE)]
    order = [*teachers, "float student", *named]
    rows = [
        Row(
            name,
            parameters[name],
            tuple(accuracies[name].values()),
            shares.get(name, 0.0),
            file_bytes.get(name),
        )
        for name in order
    ]
    plot_comparison({row.name: row.accuracies for row in rows}, directory / PLOT_FILE)
    comparison.write_rows(rows)
    return rows


def run_path(directory: pathlib.Path, variant: str, seed: int) -> pathlib.Path:
    """Returns the run directory of a variant and seed."""
    name = variant.replace(", ", "-").replace("'", "").replace(" ", "_")
    return directory / f"{name}-seed{seed}"
