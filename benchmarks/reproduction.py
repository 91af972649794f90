"""Gathers what a comparison has trained: its rows for `results/`, and the networks that come with tfqkd.

    python -m benchmarks.reproduction --run_dir=runs/cifar10_cpu

The table is that of all rows in `results/`, also of those that other run directories have trained with the
same recipe.
"""

import dataclasses
import json
import math
import pathlib
import shutil
import statistics
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.trained import PRETRAINED, Done, done_rows, row_path
from tfqkd.cli.command import Command, UsageError
from tfqkd.recipe.recipe import Recipe
from tfqkd.storage import write_atomically
from tfqkd.tables import Table
from tfqkd.training.directory import RECIPE_FILE, read_recipe
from tfqkd.training.plans import with_seed
from tfqkd.training.presets import Comparison
from tfqkd.training.products import HISTORY_FILE
from tfqkd.training.results import RESULTS_FILE

_SAME_LOSS = 1e-4


def require_one_table(
    directory: pathlib.Path, run: pathlib.Path, rows: dict[str, list[Done]]
) -> None:
    """Refuses rows that make no table with those that are kept.

    Args:
        directory: Where `keep` wrote the others.
        run: The comparison whose rows they are.
        rows: What is to be kept.

    Raises:
        UsageError: If a kept row was trained with another recipe, or the float networks that the rows share
            are others.
    """
    recipe = read_recipe(run)
    for results in _kept(directory):
        row, seed = results["row"], results["seed"]
        folder = row_path(directory, row, seed)
        differences = with_seed(read_recipe(folder), recipe.run.seed).differences(recipe)
        if differences:
            raise UsageError(
                f"The rows of a table must have one recipe. Received: {folder}, which differs "
                f"from that of {run} (there, here): {differences}. "
                "Remove it, or gather another --run_dir."
            )
        for one in rows.get(row, ()) if row in PRETRAINED else ():
            there, here = results["loss"], one.figures.loss
            # The loss tells two networks apart that one recipe made; another processor rounds it otherwise.
            if one.seed == seed and not math.isclose(there, here, rel_tol=_SAME_LOSS):
                raise UsageError(
                    f"The rows of a table must share their {row}. Received: that of "
                    f"{run}, with a test loss of {here:.6f}, and {folder}, with "
                    f"{there:.6f}. Remove {directory}, or gather another --run_dir."
                )


def _kept(directory: pathlib.Path) -> list[dict[str, Any]]:
    return [
        json.loads(file.read_text(encoding="utf-8"))
        for file in sorted(directory.glob(f"*/{RESULTS_FILE}"))
    ]


def table(directory: pathlib.Path, recipe: Recipe) -> Table:
    """Returns the table of all rows that are kept: mean ± sample standard deviation of the test accuracy.

    Args:
        directory: Where `keep` wrote them.
        recipe: Of the comparison.
    """
    labels = [stage.label for stage in Comparison(controls=True)(recipe)]
    kept: dict[str, list[dict[str, Any]]] = {label: [] for label in labels}
    for results in _kept(directory):
        kept[results["row"]].append(results)
    result = Table(
        "model", "parameters", "ternary %", "file bytes", "test accuracy %", "seeds", "min"
    )
    for name, done in kept.items():
        if done:
            first = done[0]
            accuracies = [100 * one["accuracy"] for one in done]
            spread = f" ± {statistics.stdev(accuracies):.2f}" if len(done) > 1 else ""
            result.add(
                name,
                f"{first['parameters']:,}",
                f"{100 * first.get('quantized_share', 0):.1f}",
                f"{first['file_bytes']:,}",
                f"{statistics.fmean(accuracies):.2f}{spread}",
                len(done),
                f"{statistics.fmean(one['minutes'] for one in done):.0f}",
            )
    return result


def keep(rows: dict[str, list[Done]], directory: pathlib.Path) -> None:
    """Writes recipe, results and history of each row and seed into a directory of its own."""
    for row, done in rows.items():
        for one in done:
            folder = row_path(directory, row, one.seed)
            folder.mkdir(parents=True, exist_ok=True)
            # Where the data lay on one machine says nothing on another.
            recipe = one.recipe.changed(data_dir="", seed=one.seed)
            write_atomically(folder / RECIPE_FILE, recipe.to_json())
            measured = dataclasses.asdict(dataclasses.replace(one.figures, seed=one.seed))
            del measured["model"], measured["label"]
            results = {
                "row": row,
                **measured,
                "file_bytes": one.file_bytes(),
                "minutes": round(one.minutes(), 1),
            }
            write_atomically(folder / RESULTS_FILE, json.dumps(results, indent=2) + "\n")
            shutil.copy(one.model.with_name(HISTORY_FILE), folder)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    command = Command(
        "reproduction",
        "Writes what a comparison has trained to results/DATASET, and prints the table of all rows "
        "there.",
        ("python -m benchmarks.reproduction --run_dir=runs/cifar10_cpu",),
    )
    values = command.flags
    command.group("what to gather").text("run_dir", "The comparison's directory.")

    def run_it() -> None:
        directory = pathlib.Path(values.run_dir)
        rows = done_rows(directory)
        recipe = read_recipe(directory)
        folder = pathlib.Path("results") / recipe.data.dataset
        require_one_table(folder, directory, rows)
        keep(rows, folder)
        text = table(folder, recipe).markdown()
        write_atomically(folder / "table.md", text + "\n")
        print(text)

    return command.main(argv, run_it)


if __name__ == "__main__":
    sys.exit(main())
