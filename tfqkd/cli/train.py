"""`bin/train`: the whole job, from data to exported file."""

import pathlib
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from tfqkd.cli.command import Command, UsageError, load_keras
from tfqkd.cli.flag_group import FlagGroup
from tfqkd.cli.recipes import define_recipe_flags, recipe_from_flags
from tfqkd.data.locations import require_location
from tfqkd.export.formats import FORMATS
from tfqkd.fronts.cluster import Cluster
from tfqkd.recipe.recipe import Recipe

if TYPE_CHECKING:
    from tfqkd.progress import MakeProgress
    from tfqkd.training.presets import Preset

_DRY_RUN = re.compile("--?dry_run(=.*)?")


def _command() -> Command:
    command = Command(
        "train",
        "Trains a teacher, a float student and a quantized student, exports the student and measures all on "
        "the test images. Stages that are done are kept: the same command goes on where it stopped, or says "
        "that the run is done.",
        (
            "bin/train --flagfile=configs/quickstart.flags",
            "bin/train --flagfile=configs/cifar100.flags --data_dir=DIR",
            "bin/train --flagfile=configs/cifar10.flags --run_dir=runs/t5 --temperature=5 --dry_run",
        ),
    )
    what = command.group("what to run")
    what.text("run_dir", "Where the run is kept; runs/DATASET if empty.")
    what.text(
        "products",
        "Where teachers, students and exports are kept; runs that share a directory train nothing twice. "
        "The run directory's own products if empty.",
    )
    _define_presets(what)
    what.switch(
        "dry_run",
        "Train nothing: print the stages, which are done, which would be trained and why, their parameters, "
        "and how long they take, if stages of their kind have been trained there.",
    )
    what.choice(
        "log_to",
        ["mlflow", "wandb"],
        "Also write what each epoch logs to MLflow or to Weights & Biases, as their own settings say "
        "(MLFLOW_TRACKING_URI; WANDB_MODE=offline).",
        optional=True,
    )
    define_recipe_flags(command)
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    command = _command()
    arguments = list(sys.argv if argv is None else argv)

    def run_it() -> None:
        recipe = recipe_from_flags(command)
        values = command.flags
        if (values.repeats > 1 or values.controls) and not values.compare:
            raise UsageError(
                "`repeats` and `controls` belong to a comparison. "
                f"Received: repeats={values.repeats}, controls={values.controls} without --compare. Add "
                "--compare, or run other seeds with --seed and another --run_dir."
            )
        directory = pathlib.Path(values.run_dir or f"runs/{recipe.data.dataset.replace('/', '_')}")
        for name in recipe.export.formats:
            FORMATS[name].require_runtime()
        if recipe.run.strategy == "multi_worker":
            _require_one_cluster(values.compare)
        products = pathlib.Path(values.products) if values.products else directory / "products"
        words = command.command_line(arguments)
        preset = _preset(values)
        if values.dry_run:
            _foretell(recipe, directory, products, preset)
            asked = [word for word in arguments[1:] if not _DRY_RUN.fullmatch(word)]
            command.print_next("train", *asked)
        else:
            progress = _progress(values.log_to, directory)
            if _run(recipe, directory, products, words, preset, progress):
                command.print_next("evaluate", f"--run_dir={directory}")

    return command.main(arguments, run_it)


def _define_presets(what: FlagGroup) -> None:
    what.switch(
        "compare",
        "Also train the student without a teacher and with a fixed coefficient (the mean of the annealed "
        "one's first and last value), and print a table of all.",
    )
    what.switch(
        "controls",
        "With --compare: also train the float student on for as many epochs, and the quantized one with the "
        "teacher's term off: (1-λ)·hard alone.",
    )
    what.count(
        "repeats",
        1,
        "With --compare: seeds to run, from --seed upwards; the table gives mean ± standard deviation.",
        lowest=1,
    )
    what.texts(
        "assistants",
        "Networks between teacher and student, separated by commas, the largest first: each is taught by the "
        "one before, and the last one teaches the student.",
    )
    what.count(
        "generations",
        1,
        "Quantized students to train one after the other, each taught by the one before; the last one is "
        "exported.",
        lowest=1,
    )


def _preset(values: flags.FlagValues) -> "Preset":
    from tfqkd.training.presets import PAPER, BornAgain, Chain, Comparison

    asked = {
        "compare": values.compare,
        "assistants": bool(values.assistants),
        "generations": values.generations > 1,
    }
    if sum(asked.values()) > 1:
        named = " and ".join(f"--{name}" for name, is_asked in asked.items() if is_asked)
        raise UsageError(
            "A run can have only one of --compare, --assistants and --generations. Received: "
            f"{named}. Give one of them."
        )
    if values.assistants:
        return Chain(tuple(values.assistants))
    if values.generations > 1:
        return BornAgain(values.generations)
    return Comparison(values.controls, values.repeats) if values.compare else PAPER


def _require_one_cluster(compare: bool) -> None:
    try:
        Cluster.read()
    except ValueError as error:
        raise UsageError(str(error)) from error
    if compare:
        raise UsageError(
            "Several workers train one run. Received: --compare with --run.strategy=multi_worker. "
            "Run its variants one by one."
        )


def _progress(tracker: str | None, directory: pathlib.Path) -> "MakeProgress":
    from tfqkd.progress import ProgressBar

    if not tracker:
        return ProgressBar
    from tfqkd.reporting.tracking import tracked

    return tracked(tracker, directory.name)


def _require_locations(recipe: Recipe) -> None:
    for name in (recipe.data.dataset, recipe.progressive.data):
        if name:
            require_location(name, recipe.data.dir, recipe.data.download)


def _foretell(
    recipe: Recipe, directory: pathlib.Path, products: pathlib.Path, preset: "Preset"
) -> None:
    _require_locations(recipe)
    load_keras(recipe.run.keras)
    from tfqkd.reporting.forecast import forecast, forecast_table

    print(forecast_table(forecast(recipe, directory, products, preset)))


def _run(
    recipe: Recipe,
    directory: pathlib.Path,
    products: pathlib.Path,
    words: list[str],
    preset: "Preset",
    progress: "MakeProgress",
) -> bool:
    """Runs a recipe and prints its results; returns whether it is this process that speaks."""
    from tfqkd.training.directory import RunDirectory

    results = RunDirectory(directory, recipe, preset).results()
    if results:
        print(f"The run in {directory} is done already; nothing to do.")
    else:
        _require_locations(recipe)
        load_keras(recipe.run.keras)
        from tfqkd.training.run import run

        results = run(recipe, directory, products, words, preset=preset, progress=progress)
    if recipe.run.strategy == "multi_worker" and not Cluster.read().is_chief:
        return False
    # Slow to import: training starts first.
    from tfqkd.reporting.page import PAGE_FILE
    from tfqkd.reporting.results import print_results
    from tfqkd.reporting.run_page import write_run_page

    if not (directory / PAGE_FILE).exists():
        write_run_page(directory)
    print_results(results, directory)
    return True


if __name__ == "__main__":
    sys.exit(main())
