"""What a file of integers costs in accuracy, beside the student with float activations.

    python -m benchmarks.integer_accuracy --flagfile=benchmarks/integer_accuracy.flags --data_dir=DIR

For every seed a ternary student is trained with float activations. From it two others are trained on for a
few epochs: one for integers, whose file is measured, and one as before, which says what the epochs alone do.
What is done is not run again.
"""

import dataclasses
import json
import pathlib
import statistics
import sys
from collections.abc import Sequence

from tfqkd.cli.command import Command, load_tensorflow
from tfqkd.cli.recipes import define_recipe_flags, recipe_from_flags
from tfqkd.recipe.recipe import Recipe
from tfqkd.storage import write_atomically
from tfqkd.tables import Table

FORM = "litert-w2a8"
GOAL = 0.3
"""The most points that the file may lose of the student with float activations."""


@dataclasses.dataclass(frozen=True)
class Found:
    """The test accuracies of one seed, 0 to 1.

    Attributes:
        seed: Of all three trainings.
        student: Of the ternary student with float activations.
        trained_on: Of the same, trained on as it was.
        integers: Of the Keras model that was trained on for integers.
        file: Of its file, on the stock runtime.
    """

    seed: int
    student: float
    trained_on: float
    integers: float
    file: float


def recipes(recipe: Recipe, epochs: int, rate: float) -> tuple[Recipe, Recipe, Recipe]:
    """Returns the recipes of the student, of what trains it on as it was, and of what does for integers.

    Args:
        recipe: Of the student.
        epochs: Of the training that goes on from it.
        rate: Its first learning rate.
    """
    settings = {"quantized.training.epochs": epochs, "quantized.training.learning_rate": rate}
    first = recipe.changed(formats=())
    trained_on = first.changed(settings)
    return first, trained_on, trained_on.changed({"quantize.deploy": True}, formats=(FORM,))


def measure(
    recipe: Recipe, directory: pathlib.Path, seeds: Sequence[int], epochs: int, rate: float
) -> list[Found]:
    """Trains and measures all of every seed."""
    from tfqkd.training.execution import load_data  # noqa: PLC0415 (after the flags)
    from tfqkd.training.run import run  # noqa: PLC0415

    data, products = load_data(recipe), directory / "products"
    found = []
    for seed in seeds:
        first, *others = recipes(recipe.changed(seed=seed), epochs, rate)
        folder = directory / f"student-seed{seed}"
        student = run(first, folder, products, data=data).student
        start = str(folder / student.model)
        trained_on, integers = (
            run(other.changed(student=start), directory / f"{name}-seed{seed}", products, data=data)
            for name, other in zip(("trained_on", "integers"), others, strict=True)
        )
        (file,) = integers.export
        accuracies = (student, trained_on.student, integers.student, file)
        found.append(Found(seed, *(each.accuracy for each in accuracies)))
    return found


def table(found: Sequence[Found]) -> Table:
    """Returns accuracies in per cent and differences in points: mean ± sample standard deviation."""
    result = Table("", *(f"seed {one.seed}" for one in found), "all")
    columns = {
        "ternary student, float activations": [one.student for one in found],
        "trained on as it was": [one.trained_on for one in found],
        "trained on for integers, Keras": [one.integers for one in found],
        f"its file, {FORM}": [one.file for one in found],
        "file minus student": [one.file - one.student for one in found],
        "file minus trained on as it was": [one.file - one.trained_on for one in found],
        "file minus its Keras model": [one.file - one.integers for one in found],
    }
    for name, values in columns.items():
        form = "+.2f" if "minus" in name else ".2f"
        spread = f" ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else ""
        result.add(
            name,
            *(f"{100 * value:{form}}" for value in values),
            f"{100 * statistics.fmean(values):{form}}{spread}",
        )
    return result


def verdict(found: Sequence[Found]) -> str:
    """Says whether the mean loss of the file keeps the goal."""
    lost = 100 * statistics.fmean(one.student - one.file for one in found)
    met = "met" if lost <= GOAL else "not met"
    return f"The file may lose {GOAL} points of the student with float activations: {met} ({lost:+.2f} lost)."


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    command = Command(
        "integer_accuracy",
        "Prints the test accuracy of a ternary student with float activations, and of the file of integers "
        "that it becomes by a few epochs more, for one recipe.",
        (
            "python -m benchmarks.integer_accuracy --flagfile=benchmarks/integer_accuracy.flags "
            "--data_dir=DIR",
        ),
    )
    values = command.flags
    what = command.group("what to run")
    what.text("run_dir", "Where the runs are kept.", "runs/integer_accuracy")
    what.count("repeats", 3, "Seeds to run, from --seed upwards.", lowest=1)
    what.count("epochs", 3, "Epochs that the student is trained on.", lowest=1)
    what.number("rate", 0.01, "The first learning rate of these.")
    define_recipe_flags(command)

    def run_it() -> None:
        recipe = recipe_from_flags(command)
        load_tensorflow()
        directory = pathlib.Path(values.run_dir).absolute()
        seeds = range(recipe.run.seed, recipe.run.seed + values.repeats)
        found = measure(recipe, directory, seeds, values.epochs, values.rate)
        listed = [dataclasses.asdict(one) for one in found]
        write_atomically(directory / "accuracy.json", json.dumps(listed, indent=2) + "\n")
        print(f"\n{table(found).markdown()}\n\n{verdict(found)}")

    return command.main(argv, run_it)


if __name__ == "__main__":
    sys.exit(main())
