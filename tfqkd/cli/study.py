"""`bin/study`: one recipe at many settings and seeds, with a report."""

import contextlib
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfqkd.cli.command import Command, UsageError, load_keras
from tfqkd.cli.recipes import define_recipe_flags, recipe_from_flags
from tfqkd.data.locations import require_location
from tfqkd.study.extras import missing_packages, require_packages
from tfqkd.study.plan import PRUNERS, SAMPLERS, Plan
from tfqkd.study.space import parse_space

if TYPE_CHECKING:
    from tfqkd.study.location import StudyLocation


def _command() -> Command:
    command = Command(
        "study",
        "Tries a recipe at many settings and seeds. Teachers and float students are trained once and shared; "
        "the control, with the teacher's term off, is always among the trials. The same command again goes "
        "on where it stopped, and on another machine or in another terminal joins in. At the end, and when "
        "it is interrupted, it writes report.html, its figures as PNG and CSV, and best.flags for bin/train.",
        (
            "bin/study --flagfile=configs/study_quickstart.flags",
            "bin/study --flagfile=configs/cifar10.flags --data.validation_split=0.1 --run_dir=runs/study "
            "--vary=temperature=1,2,5,10 --vary=schedule=constant,gradual --repeats=3",
            "bin/study --flagfile=configs/study_cifar100.flags --storage=postgresql://me@host/studies",
        ),
    )
    _define_trials(command)
    _define_storage(command)
    define_recipe_flags(command)
    return command


def _define_trials(command: Command) -> None:
    what = command.group("what to try")
    what.texts(
        "vary",
        "FIELD=VALUE,VALUE,... or FIELD=LOW:HIGH or FIELD=LOW:HIGH:log, once for each field of the recipe "
        "that varies, by its name as a flag. A value that has a comma needs double quotes.",
        repeated=True,
    )
    what.texts(
        "arm",
        "NAME: FIELD=VALUE FIELD=VALUE ..., once for each arm: named settings; a trial takes one arm. "
        "The report compares all with the first.",
        repeated=True,
    )
    what.choice(
        "sampler",
        SAMPLERS,
        "grid tries all settings; random and tpe (tree-structured Parzen estimator) draw --trials of them.",
    )
    what.count("trials", 0, "Settings that random or tpe draw, besides the controls.")
    what.count(
        "repeats",
        1,
        "Seeds of every trial, from --seed upwards; the report's error bars are over them.",
        lowest=1,
    )
    what.choice(
        "pruner",
        PRUNERS,
        "hyperband gives up trials whose first seed does badly on the validation images.",
    )


def _define_storage(command: Command) -> None:
    kept = command.group("where it is kept")
    kept.text(
        "run_dir",
        "Where trials, products and report are kept; runs/study_DATASET if empty. Workers on several "
        "machines share teachers if this is a shared directory.",
    )
    kept.text("study_name", "Name of the study in its storage; that of run_dir if empty.")
    kept.text(
        "storage",
        "URL of the database that the workers share: postgresql://..., mysql+pymysql://... or "
        "sqlite:///FILE; RUN_DIR/study.db if empty. Keep passwords out of it: PostgreSQL reads "
        "~/.pgpass.",
    )
    kept.count(
        "grace_seconds",
        120,
        "A worker that gives no sign of life for this long has died, and its trial goes to another.",
        lowest=6,
    )
    kept.switch("report_only", "Only write the report of what is done so far.")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    command = _command()
    arguments = list(sys.argv if argv is None else argv)

    def run_it() -> None:
        values = command.flags
        recipe = recipe_from_flags(command)
        try:
            plan = Plan(
                recipe=recipe,
                space=parse_space(values.vary, values.arm),
                sampler=values.sampler,
                trials=values.trials,
                repeats=values.repeats,
                pruner=values.pruner,
            )
        except ValueError as error:
            raise UsageError(str(error)) from error
        directory = pathlib.Path(
            values.run_dir or f"runs/study_{recipe.data.dataset.replace('/', '_')}"
        )
        is_plain = plan.sampler == "grid" and plan.pruner == "none" and not values.storage
        if is_plain and missing_packages():
            _run_locally(plan, directory, values.report_only, command.command_line(arguments))
            _print_next(command, directory)
            return
        require_packages()
        from tfqkd.study.location import StudyLocation

        location = StudyLocation(directory, values.study_name, values.storage, values.grace_seconds)
        if not values.report_only:
            # A storage that cannot be reached is said before TensorFlow is loaded.
            location.open()
            require_location(recipe.data.dataset, recipe.data.dir, recipe.data.download)
            _work(
                plan, location, _without_password(command.command_line(arguments), location.storage)
            )
        _report(plan, location)
        _print_next(command, location.directory)

    return command.main(arguments, run_it)


def _run_locally(plan: Plan, directory: pathlib.Path, report_only: bool, words: list[str]) -> None:
    """Runs a grid in this process alone, and writes its report."""
    print(
        "Optuna is not installed: the trials run one after the other, in this process.", flush=True
    )
    data = plan.recipe.data
    require_location(data.dataset, data.dir, data.download)
    load_keras(plan.recipe.run.keras)
    from tfqkd.reporting.study_page import print_study, write_study_page
    from tfqkd.study.local import LOCAL_FILE, LocalStudy, run_local_study
    from tfqkd.study.results import StudyResults

    if report_only and not (directory / LOCAL_FILE).exists():
        raise ValueError(
            f"A study must be started before it can be reported. Received: {directory}, without "
            f"{LOCAL_FILE}. Leave --report_only out."
        )
    try:
        if not report_only:
            run_local_study(plan, directory, words)
    finally:
        results = StudyResults.read(LocalStudy(plan, directory), plan)
        if len(results.runs):
            write_study_page(results, directory)
            print_study(results, directory)


def _work(plan: Plan, location: "StudyLocation", words: list[str]) -> None:
    load_keras(plan.recipe.run.keras)
    from tfqkd.study.study import run_study

    try:
        run_study(plan, location, words)
    except (KeyboardInterrupt, ValueError):
        # What is done so far is worth a look, if there is such a study.
        with contextlib.suppress(ValueError):
            _report(plan, location)
        raise


def _report(plan: Plan, location: "StudyLocation") -> None:
    from tfqkd.reporting.study_page import print_study, write_study_page
    from tfqkd.study.results import StudyResults

    results = StudyResults.read(location.find(plan), plan)
    write_study_page(results, location.directory)
    print_study(results, location.directory)


def _print_next(command: Command, directory: pathlib.Path) -> None:
    from tfqkd.reporting.study_page import BEST_FILE

    best = directory / BEST_FILE
    if best.exists():
        command.print_next("train", f"--flagfile={best}")


def _without_password(words: list[str], storage: str) -> list[str]:
    """Returns a command line as it may be kept: a storage's URL may hold a password."""
    from tfqkd.study.database import without_password

    return [word.replace(storage, without_password(storage)) if storage else word for word in words]


if __name__ == "__main__":
    sys.exit(main())
