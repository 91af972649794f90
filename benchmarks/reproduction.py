"""Gathers what a comparison has trained: its rows for `results/`, and the networks that come with tfqkd.

    python -m benchmarks.reproduction --run_dir=runs/cifar10_cpu

Rows that are not done yet are left out: run it again when they are.
"""

import dataclasses
import json
import pathlib
import shutil
import statistics
import sys
from collections.abc import Sequence

from absl import flags

from benchmarks.shipping import ship
from benchmarks.trained import Done, done_rows
from tfqkd.cli.command import Command, UsageError
from tfqkd.models.pretrained import DIRECTORY
from tfqkd.reporting.figures import plot_run
from tfqkd.reporting.tables import Table
from tfqkd.training.comparison import run_path
from tfqkd.training.comparison_directory import Row
from tfqkd.training.directory import RECIPE_FILE, RESULTS_FILE, write_atomically
from tfqkd.training.fitting import HISTORY_FILE
from tfqkd.training.run import TEACHER_ROLE

SHIPPED = "ternary, teacher, annealed coefficient"


def table(rows: dict[str, list[Done]]) -> Table:
    """Returns the table: mean ± sample standard deviation of the test accuracy, in per cent."""
    result = Table(
        "model", "parameters", "ternary %", "file bytes", "test accuracy %", "seeds", "min"
    )
    for name, done in rows.items():
        figures = done[0].figures
        accuracies = tuple(one.figures["accuracy"] for one in done)
        result.add(
            name,
            f"{figures['parameters']:,}",
            f"{100 * figures.get('quantized_share', 0):.1f}",
            f"{done[0].file_bytes():,}",
            Row(name, figures["parameters"], accuracies).accuracy_text(),
            len(done),
            f"{statistics.fmean(one.minutes() for one in done):.0f}",
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
            results = {name: value for name, value in one.figures.items() if name != "model"}
            write_atomically(place / RESULTS_FILE, json.dumps(results, indent=2) + "\n")
            shutil.copy(one.model.with_name(HISTORY_FILE), place)
            plot_run({row: one.history()}, [{**one.figures, "role": row}], place / "run.png")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    command = Command(
        "reproduction",
        "Writes what a comparison has trained so far to results/DATASET, and prints its table. With --ship, "
        "also its first seed's ternary student and its teacher to tfqkd/models/weights, with model cards.",
        ("python -m benchmarks.reproduction --run_dir=runs/cifar10_cpu --ship",),
    )
    values = command.flags
    flags.DEFINE_string("run_dir", "", "The comparison's directory.", flag_values=values)
    flags.DEFINE_bool("ship", False, "Write the networks that come with tfqkd.", flag_values=values)
    for name in ("run_dir", "ship"):
        command.group("what to gather", name)

    def run_it() -> None:
        directory = pathlib.Path(values.run_dir)
        rows = done_rows(directory)
        if not rows:
            raise UsageError(f"A row must be done. Received: {directory}, where none is yet.")
        if values.ship and SHIPPED not in rows:
            raise UsageError(
                f"--ship writes the network of the row {SHIPPED!r}. "
                f"Received: {directory}, where that row is not done yet."
            )
        place = pathlib.Path("results") / next(iter(rows.values()))[0].recipe.dataset
        keep(rows, place)
        text = table(rows).markdown()
        write_atomically(place / "table.md", text + "\n")
        print(text)
        if values.ship:
            ship(rows[SHIPPED][0], rows[TEACHER_ROLE][0], DIRECTORY)

    return command.main(argv, run_it)


if __name__ == "__main__":
    sys.exit(main())
