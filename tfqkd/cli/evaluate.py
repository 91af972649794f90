"""`bin/evaluate`: measures what a run left on the test images."""

import dataclasses
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from tfqkd.cli.command import (
    Command,
    UsageError,
    load_tensorflow,
    print_json,
    set_up_tensorflow,
)

if TYPE_CHECKING:
    from tfqkd.reporting.measurement import Measurement


def _command() -> Command:
    command = Command(
        "evaluate",
        "Measures the models of a finished run and every exported file, each by its own "
        "runtime, on all test images: accuracy, top-5, loss (NLL), calibration (ECE), agreement with the "
        "teacher. Prints a table; the run directory gets evaluation.json, with precision and recall by class "
        "and the confusion matrices, confusion.png, and a report.html with all of it.",
        (
            "bin/evaluate --run_dir=runs/quickstart",
            "bin/evaluate --run_dir=runs/cifar100",
            "bin/evaluate --models=student-int2.tflite,teacher.keras --dataset=cifar10 --data_dir=DIR",
        ),
    )
    what = command.group("what to evaluate")
    what.text("run_dir", "The run directory.")
    what.texts(
        "models",
        "Instead of a run: models of tf_keras or Keras 3 and exported files, or folders of them, separated "
        "by commas. Several are compared with the first: how much more accurate each is, with the standard "
        "error that these images give.",
    )
    what.text("dataset", "With --models: the data set, as for bin/train.")
    what.text("data_dir", "Where TFDS data sets are; as in the run if empty.")
    what.text(
        "image_size",
        "With --models: resize images, as --data.image_size of bin/train does.",
        default="0",
    )
    what.switch(
        "centre_crop",
        "With --models: resize the middle of images, as --data.centre_crop of bin/train does.",
    )
    command.choose_output(
        "`runs`, a list of objects with `directory` (null with --models) and `models`: each with `name`, "
        "`accuracy`, `top5` (null for five classes or fewer), `loss`, `calibration_error`, `precision` and "
        "`recall` (lists, one entry a class), `agreement` (null where there is none) and `over_first` (null, "
        "or with --models from the second on `accuracy`, the difference to the first, and `error`, its "
        "standard error on these images). Shares are 0 to 1, losses in nats."
    )

    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    command = _command()

    def evaluate() -> None:
        if command.flags.models:
            _evaluate_models(command)
        else:
            _evaluate_run(command)

    return command.main(argv, evaluate)


def _evaluate_run(command: Command) -> None:
    directory = require_run_directory(command.flags.run_dir)
    from tfqkd.training.directory import read_recipe
    from tfqkd.training.results import Results

    # What is not finished is said first.
    Results.read(directory)
    if read_recipe(directory).run.keras == 2:
        load_tensorflow()
    set_up_tensorflow()
    from tfqkd.reporting.measurement import measure_run
    from tfqkd.reporting.run_page import write_run_page

    measured = measure_run(directory, command.flags.data_dir)
    write_run_page(directory)
    if command.is_json:
        print_json({"runs": [_as_json(directory, measured)]})
        return
    print(f"\n{directory}\n{_table(measured)}")
    print("\nThe run directory has evaluation.json, confusion.png and a new report.html.")
    command.print_next("export", f"--run_dir={directory}")


def _evaluate_models(command: Command) -> None:
    measured = _measured(command.flags)
    if command.is_json:
        print_json({"runs": [_as_json(None, measured)]})
        return
    print(f"\n{_table(measured)}")
    _print_next(command, pathlib.Path(command.flags.models[0]))


def _print_next(command: Command, path: pathlib.Path) -> None:
    """Prints what to do with a file that was measured: run it, or write one that devices run."""
    from tfqkd.cli.model_files import OF_KERAS, files_of
    from tfqkd.runtime.loading import RUNTIME_SUFFIXES

    file = files_of(path)[0]
    if file.suffix in RUNTIME_SUFFIXES:
        command.print_next("predict", f"--model={file}", "--images=IMAGE.png")
    elif file.suffix in OF_KERAS:
        command.print_next("export", f"--model={file}")


def _table(measurements: Sequence["Measurement"]) -> str:
    from tfqkd.reporting.results import measurement_table

    return str(measurement_table(measurements))


def _as_json(
    directory: pathlib.Path | None, measurements: Sequence["Measurement"]
) -> dict[str, Any]:
    models = [
        {
            "name": measurement.name,
            "accuracy": measurement.figures.accuracy,
            "top5": measurement.figures.top5,
            "loss": measurement.figures.loss,
            "calibration_error": measurement.figures.calibration_error,
            "precision": measurement.figures.precision,
            "recall": measurement.figures.recall,
            "agreement": measurement.agreement,
            "over_first": measurement.over_first and dataclasses.asdict(measurement.over_first),
        }
        for measurement in measurements
    ]
    return {"directory": None if directory is None else str(directory), "models": models}


def _measured(values: flags.FlagValues) -> list["Measurement"]:
    models, dataset, run_dir = values.models, values.dataset, values.run_dir
    missing = [path for path in models if not pathlib.Path(path).exists()]
    if missing:
        raise UsageError(
            f"`models` must be files, or directories of SavedModels. Received: {missing[0]!r}."
        )
    if not dataset or run_dir:
        raise UsageError(
            "`models` are measured on a data set of their own, not a run's. "
            f"Received: dataset={dataset!r}, run_dir={run_dir!r}. Give --dataset, and no --run_dir."
        )
    from tfqkd.cli.model_files import files_of
    from tfqkd.fronts.model_archive import is_of_keras3
    from tfqkd.runtime.loading import kind_of

    files = [file for path in models for file in files_of(pathlib.Path(path))]
    if any(kind_of(file) and not is_of_keras3(file) for file in files):
        load_tensorflow()
    set_up_tensorflow()
    from tfqkd.data import load
    from tfqkd.reporting.measurement import measure_files

    data = load(
        dataset,
        data_dir=values.data_dir or None,
        image_size=values.image_size,
        centre_crop=values.centre_crop,
    )
    return measure_files(files, data)


def require_run_directory(path: str) -> pathlib.Path:
    """Returns the directory that a flag names.

    Raises:
        UsageError: If it was not given or is not there.
    """
    if not path or not pathlib.Path(path).is_dir():
        raise UsageError(
            f"`run_dir` must be a directory that bin/train made. Received: run_dir={path!r}."
        )
    return pathlib.Path(path)


if __name__ == "__main__":
    sys.exit(main())
