"""`bin/study`: one recipe at many settings and seeds, with a report."""

import importlib.util
import pathlib
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from tfqkd.cli.command import Command, UsageError, load_tensorflow
from tfqkd.cli.recipes import define_recipe_flags, recipe_from_flags
from tfqkd.study.plan import PRUNERS, SAMPLERS, Plan
from tfqkd.study.space import parse_space

if TYPE_CHECKING:
    import optuna
    from optuna.storages import RDBStorage

_NEEDED = ("optuna", "sqlalchemy", "statsmodels")
_DATABASE = "study.db"


def _command() -> Command:
    command = Command(
        "study",
        "Tries a recipe at many settings and seeds. Teachers and float students are trained once and shared; "
        "the control, with the teacher's term off, is always among the trials. The same command again goes "
        "on where it stopped, and on another machine or in another terminal joins in. At the end, and when "
        "it is interrupted, it writes report.html, its figures as PNG and CSV, and best.flags for bin/train.",
        (
            "bin/study --flagfile=configs/study_quickstart.flags",
            "bin/study --flagfile=configs/cifar10.flags --validation_split=0.1 --run_dir=runs/study "
            "--vary=temperature=1,2,5,10 --vary=schedule=constant,gradual --repeats=3",
            "bin/study --flagfile=configs/study_cifar100.flags --storage=postgresql://me@host/studies",
        ),
    )
    values = command.flags
    flags.DEFINE_string(
        "run_dir",
        "",
        "Where trials, products and report are kept; runs/study_DATASET if empty. Workers on several "
        "machines share teachers if this is a shared directory.",
        flag_values=values,
    )
    flags.DEFINE_multi_string(
        "vary",
        [],
        "FIELD=VALUE,VALUE,... or FIELD=LOW:HIGH or FIELD=LOW:HIGH:log, once for each field of the recipe "
        "that varies. A value that holds a comma stands in double quotes.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "sampler",
        "grid",
        SAMPLERS,
        "grid tries all settings; random and tpe (tree-structured Parzen estimator) draw --trials of them.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "trials", 0, "Settings that random or tpe draw, besides the controls.", flag_values=values
    )
    flags.DEFINE_integer(
        "repeats",
        1,
        "Seeds of every trial, from --seed upwards; the report's error bars are over them.",
        flag_values=values,
        lower_bound=1,
    )
    flags.DEFINE_enum(
        "pruner",
        "none",
        PRUNERS,
        "hyperband gives up trials whose first seed does badly on the validation images.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "study_name",
        "",
        "Of the study in its storage; that of run_dir if empty.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "storage",
        "",
        "URL of the database that the workers share: postgresql://..., mysql+pymysql://... or "
        f"sqlite:///FILE; RUN_DIR/{_DATABASE} if empty. Keep passwords out of it: PostgreSQL reads "
        "~/.pgpass.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "grace_seconds",
        120,
        "A worker that gives no sign of life for this long has died, and its trial goes to another.",
        flag_values=values,
        lower_bound=6,
    )
    flags.DEFINE_bool(
        "report_only", False, "Only write the report of what is done so far.", flag_values=values
    )
    for name in ("vary", "sampler", "trials", "repeats", "pruner"):
        command.group("what to try", name)
    for name in ("run_dir", "study_name", "storage", "grace_seconds", "report_only"):
        command.group("where it is kept", name)
    define_recipe_flags(command)
    return command


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
                space=parse_space(values.vary),
                sampler=values.sampler,
                trials=values.trials,
                repeats=values.repeats,
                pruner=values.pruner,
            )
        except ValueError as error:
            raise UsageError(str(error)) from error
        _require_packages()
        directory = pathlib.Path(values.run_dir or f"runs/study_{recipe.dataset.replace('/', '_')}")
        storage = _storage(directory, values)
        if values.report_only:
            study = _join(storage, plan, directory, values)
        else:
            study = _work(storage, plan, directory, values, arguments)
        _report(study, plan, directory)

    return command.main(arguments, run_it)


def _storage(directory: pathlib.Path, values: flags.FlagValues) -> "RDBStorage":
    from tfqkd.study.storage import open_storage, sqlite_url

    if not values.storage:
        directory.mkdir(parents=True, exist_ok=True)
    return open_storage(values.storage or sqlite_url(directory / _DATABASE), values.grace_seconds)


def _join(
    storage: "RDBStorage", plan: Plan, directory: pathlib.Path, values: flags.FlagValues
) -> "optuna.Study":
    from tfqkd.study.samplers import make_pruner, make_sampler
    from tfqkd.study.storage import join

    name = values.study_name or directory.resolve().name
    return join(storage, name, plan, make_sampler(plan), make_pruner(plan))


def _work(
    storage: "RDBStorage",
    plan: Plan,
    directory: pathlib.Path,
    values: flags.FlagValues,
    arguments: list[str],
) -> "optuna.Study":
    load_tensorflow()
    from tfqkd.study.line import WorkerLine
    from tfqkd.study.trial import TrialRunner
    from tfqkd.study.worker import work

    line = WorkerLine()
    runner = TrialRunner(plan, directory, line)
    # Before the study is begun, so that a mistake takes no name in the storage.
    runner.check()
    study = _join(storage, plan, directory, values)
    _record_command(directory, arguments, values.storage)
    try:
        work(study, runner, line)
    except KeyboardInterrupt:
        line.close()
        _report(study, plan, directory)
        raise
    finally:
        line.close()
    return study


def _report(study: "optuna.Study", plan: Plan, directory: pathlib.Path) -> None:
    from tfqkd.reporting.study_page import print_study, write_study_page
    from tfqkd.study.results import StudyResults

    results = StudyResults.read(study, plan)
    write_study_page(results, directory)
    print_study(results, directory)


def _record_command(directory: pathlib.Path, arguments: list[str], storage: str) -> None:
    """Keeps the command line, without the password that a storage's URL may hold."""
    from tfqkd.study.storage import without_password

    words = [
        word.replace(storage, without_password(storage)) if storage else word for word in arguments
    ]
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "command.txt").open("a", encoding="utf-8") as file:
        file.write(shlex.join(words) + "\n")


def _require_packages() -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"A study needs the packages {', '.join(_NEEDED)}. Received: no {', '.join(missing)}. "
            "Install them with pip install 'tfqkd[study]'."
        )


if __name__ == "__main__":
    sys.exit(main())
