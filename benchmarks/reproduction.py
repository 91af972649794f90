"""Gathers what a comparison has trained: its rows for `results/`, and the networks that come with tfqkd.

    python -m benchmarks.reproduction --run_dir=runs/cifar10_cpu

Rows that are not done yet are left out: run it again when they are. The table is that of all rows in
`results/`, also of those that other run directories have trained with the same recipe.
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

from absl import flags

from benchmarks.shipping import ship
from benchmarks.trained import PRETRAINED, Done, done_rows
from tfqkd.cli.command import Command, UsageError
from tfqkd.models.pretrained import DIRECTORY
from tfqkd.reporting.figures import plot_run
from tfqkd.storage import write_atomically
from tfqkd.tables import Table
from tfqkd.training.comparison import run_path, variants
from tfqkd.training.comparison_directory import ComparisonDirectory, Row
from tfqkd.training.directory import RECIPE_FILE, RESULTS_FILE, read_recipe
from tfqkd.training.fitting import HISTORY_FILE

SHIPPED = "ternary, teacher, annealed coefficient"
_SAME_LOSS = 1e-4


def require_one_table(
    directory: pathlib.Path, comparison: ComparisonDirectory, rows: dict[str, list[Done]]
) -> None:
    """Refuses rows that make no table with those that are kept.

    Args:
        directory: Where `keep` wrote the others.
        comparison: Whose rows they are.
        rows: What is to be kept.

    Raises:
        UsageError: If a kept row was trained with another recipe, or the float networks that the rows share
            are others.
    """
    named = variants(comparison.recipe, controls=True)
    for results in _kept(directory):
        row, seed = results["row"], results["seed"]
        place = run_path(directory, row, seed)
        if row in named:
            wanted = dataclasses.replace(named[row], seed=seed)
            differences = read_recipe(place).differences(wanted)
            if differences:
                raise UsageError(
                    f"The rows of a table must have one recipe. Received: {place}, which differs "
                    f"from that of {comparison.path} (there, here): {differences}. "
                    "Remove it, or gather another --run_dir."
                )
        for one in rows.get(row, ()) if row in PRETRAINED else ():
            there, here = results["loss"], one.figures["loss"]
            # The loss tells two networks apart that one recipe made; another processor rounds it otherwise.
            if one.seed == seed and not math.isclose(there, here, rel_tol=_SAME_LOSS):
                raise UsageError(
                    f"The rows of a table must share their {row}. Received: that of "
                    f"{comparison.path}, with a test loss of {here:.6f}, and {place}, with "
                    f"{there:.6f}. Remove {directory}, or gather another --run_dir."
                )


def _kept(directory: pathlib.Path) -> list[dict[str, Any]]:
    return [
        json.loads(file.read_text(encoding="utf-8"))
        for file in sorted(directory.glob(f"*/{RESULTS_FILE}"))
    ]


def table(directory: pathlib.Path, comparison: ComparisonDirectory) -> Table:
    """Returns the table of all rows that are kept: mean ± sample standard deviation of the test accuracy.

    Args:
        directory: Where `keep` wrote them.
        comparison: Whose rows they are.
    """
    names = (*PRETRAINED, *variants(comparison.recipe, controls=True))
    kept: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for results in _kept(directory):
        kept[results["row"]].append(results)
    result = Table(
        "model", "parameters", "ternary %", "file bytes", "test accuracy %", "seeds", "min"
    )
    for name, done in kept.items():
        if done:
            first = done[0]
            accuracies = tuple(one["accuracy"] for one in done)
            result.add(
                name,
                f"{first['parameters']:,}",
                f"{100 * first.get('quantized_share', 0):.1f}",
                f"{first['file_bytes']:,}",
                Row(name, first["parameters"], accuracies).accuracy_text(),
                len(done),
                f"{statistics.fmean(one['minutes'] for one in done):.0f}",
            )
    return result


def keep(rows: dict[str, list[Done]], directory: pathlib.Path) -> None:
    """Writes recipe, results, history and plot of each row and seed into a directory of its own."""
    for row, done in rows.items():
        for one in done:
            place = run_path(directory, row, one.seed)
            place.mkdir(parents=True, exist_ok=True)
            # Where the data lay on one machine says nothing on another.
            recipe = dataclasses.replace(one.recipe, data_dir="")
            write_atomically(place / RECIPE_FILE, recipe.to_json())
            measured = {name: value for name, value in one.figures.items() if name != "model"}
            results = {
                "row": row,
                "seed": one.seed,
                **measured,
                "file_bytes": one.file_bytes(),
                "minutes": round(one.minutes(), 1),
            }
            write_atomically(place / RESULTS_FILE, json.dumps(results, indent=2) + "\n")
            shutil.copy(one.model.with_name(HISTORY_FILE), place)
            plot_run({row: one.history()}, [{**one.figures, "role": row}], place / "run.png")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    command = Command(
        "reproduction",
        "Writes what a comparison has trained so far to results/DATASET, and prints the table of all rows "
        "there. With --ship, also its first seed's ternary student, the float one that it began from and its "
        "teacher to tfqkd/models/weights, with model cards.",
        ("python -m benchmarks.reproduction --run_dir=runs/cifar10_cpu --ship",),
    )
    values = command.flags
    flags.DEFINE_string("run_dir", "", "The comparison's directory.", flag_values=values)
    flags.DEFINE_bool("ship", False, "Write the networks that come with tfqkd.", flag_values=values)
    for name in ("run_dir", "ship"):
        command.group("what to gather", name)

    def run_it() -> None:
        directory = pathlib.Path(values.run_dir)
        comparison = ComparisonDirectory.read(directory)
        rows = done_rows(comparison)
        if not rows:
            raise UsageError(f"A row must be done. Received: {directory}, where none is yet.")
        if values.ship and SHIPPED not in rows:
            raise UsageError(
                f"--ship writes the network of the row {SHIPPED!r}. "
                f"Received: {directory}, where that row is not done yet."
            )
        place = pathlib.Path("results") / comparison.recipe.dataset
        require_one_table(place, comparison, rows)
        keep(rows, place)
        text = table(place, comparison).markdown()
        write_atomically(place / "table.md", text + "\n")
        print(text)
        if values.ship:
            teacher, student = (rows[role][0] for role in PRETRAINED)
            ship(rows[SHIPPED][0], student, teacher, DIRECTORY)

    return command.main(argv, run_it)


if __name__ == "__main__":
    sys.exit(main())
