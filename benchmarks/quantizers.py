"""Compares the quantizers, or the ways to get there gently, on one model, data set and budget.

    python -m benchmarks.quantizers --flagfile=benchmarks/quantizers.flags
    python -m benchmarks.quantizers --flagfile=benchmarks/quantizers_gentle.flags --data_dir=DIR

Each cell is a `run` of the recipe for every seed, with shared float students: what is done is not run again.
"""

import json
import pathlib
import statistics
import sys
from collections.abc import Sequence

from tfqkd.cli.command import Command, load_tensorflow
from tfqkd.cli.recipes import define_recipe_flags, recipe_from_flags
from tfqkd.recipe.quantize import TERNARY_QUANTIZERS, WEIGHT_QUANTIZERS
from tfqkd.recipe.recipe import Recipe
from tfqkd.recipe.setting import FLOAT_BITS
from tfqkd.storage import write_atomically
from tfqkd.tables import Table

WEIGHT_BITS = (2, 3, 4)
BOTH_BITS = (2, 4, 8)
PAIRS = (
    ("uniform", "lsq"),
    ("twn", "lsq"),
    ("ttq", "lsq"),
    ("lsq", "lsq"),
    ("lsq", "pact"),
    ("dorefa", "pact"),
)

PLAIN = "plain"

Cells = dict[tuple[str, str], Recipe]
Accuracies = dict[tuple[str, str], list[float]]


def family(recipe: Recipe) -> Cells:
    """Returns a recipe for each quantizer and width, by row and column; all else is the same."""
    cells = {("float", "W32"): recipe.changed(bits=FLOAT_BITS)}
    for quantizer in WEIGHT_QUANTIZERS:
        for bits in _known(quantizer, WEIGHT_BITS):
            cells[quantizer, f"W{bits}"] = recipe.changed(quantizer=quantizer, bits=bits)
    for weights, activations in PAIRS:
        for bits in _known(weights, BOTH_BITS):
            cells[f"{weights} + {activations}", f"W{bits}/A{bits}"] = recipe.changed(
                {"quantize.activation_quantizer": activations, "quantize.activation_bits": bits},
                quantizer=weights,
                bits=bits,
            )
    return cells


def _known(quantizer: str, widths: Sequence[int]) -> Sequence[int]:
    return (2,) if quantizer in TERNARY_QUANTIZERS else widths


def gentle(recipe: Recipe) -> Cells:
    """Returns the recipe as it is, and with each way to get there gently."""
    options = {
        PLAIN: {},
        "gradual bits 8, 4, then the last": {
            "quantized.methods": ("gradual",),
            "quantized.gradual.bits": (8, 4),
        },
        "gradual share 50, 75, 100 %": {
            "quantized.methods": ("gradual",),
            "quantized.gradual.share": (0.5, 0.75),
        },
        "EMA 0.98": {"quantized.methods": ("ema",), "quantized.ema.momentum": 0.98},
    }
    cells = {("float", "accuracy"): recipe.changed(bits=FLOAT_BITS)}
    for name, settings in options.items():
        cells[name, "accuracy"] = recipe.changed(settings)
    return cells


TABLES = {"family": family, "gentle": gentle}


def measure(cells: Cells, directory: pathlib.Path, seeds: Sequence[int]) -> Accuracies:
    """Returns the test accuracies of every cell, 0 to 1, a number for each seed."""
    from tfqkd.training.execution import load_data  # noqa: PLC0415 (after the flags)
    from tfqkd.training.run import run  # noqa: PLC0415

    data = load_data(next(iter(cells.values())))
    accuracies: Accuracies = {}
    for seed in seeds:
        for (row, column), recipe in cells.items():
            name = f"{row}-{column}-seed{seed}".replace(" ", "").replace("/", "").replace(",", "_")
            results = run(
                recipe.changed(seed=seed),
                directory / name.replace("%", ""),
                directory / "products",
                data=data,
            )
            accuracies.setdefault((row, column), []).append(results.student.accuracy)
    return accuracies


def minus_plain(accuracies: Accuracies) -> Accuracies:
    """Returns what each way gains on the plain one, seed by seed: what a seed does to both cancels."""
    plain = accuracies.get((PLAIN, "accuracy"), [])
    gains: Accuracies = {}
    for (row, _), found in accuracies.items():
        if plain and row != PLAIN:
            pairs = zip(found, plain, strict=True)
            gains[row, "minus plain"] = [one - other for one, other in pairs]
    return gains


def table(accuracies: Accuracies) -> Table:
    """Returns the table: mean ± sample standard deviation of the accuracy in per cent."""
    rows = list(dict.fromkeys(row for row, _ in accuracies))
    columns = list(dict.fromkeys(column for _, column in accuracies))
    result = Table("", *columns)
    for row in rows:
        result.add(row, *(_text(accuracies.get((row, column), [])) for column in columns))
    return result


def _text(values: list[float]) -> str:
    if not values:
        return ""
    spread = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.fmean(values):.1f}{spread}"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    command = Command(
        "quantizers",
        "Prints the test accuracy of every quantizer and width (family), or of every way to get there gently "
        "(gentle), for one recipe.",
        ("python -m benchmarks.quantizers --flagfile=benchmarks/quantizers.flags",),
    )
    values = command.flags
    what = command.group("what to run")
    what.choice("table", list(TABLES), "Which table.")
    what.text("run_dir", "Where the runs are kept.", default="runs/quantizers")
    what.count("repeats", 3, "Seeds to run, from --seed upwards.", lowest=1)
    define_recipe_flags(command)

    def run_it() -> None:
        recipe = recipe_from_flags(command).changed(formats=())
        cells = TABLES[values.table](recipe)
        load_tensorflow()
        directory = pathlib.Path(values.run_dir)
        accuracies = measure(
            cells, directory, range(recipe.run.seed, recipe.run.seed + values.repeats)
        )
        listed = [{"row": r, "column": c, "accuracy": a} for (r, c), a in accuracies.items()]
        write_atomically(directory / f"{values.table}.json", json.dumps(listed, indent=2) + "\n")
        print(table({**accuracies, **minus_plain(accuracies)}).markdown())

    return command.main(argv, run_it)


if __name__ == "__main__":
    sys.exit(main())
