"""Measures everything that a run left, Keras models and exported files, on the test images."""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np

from tfqkd.data.images import ImageData
from tfqkd.data.pictures import Pictures
from tfqkd.export.formats import FORMATS
from tfqkd.export.report import Report
from tfqkd.fronts.files import load_file
from tfqkd.fronts.foreign import ForeignTeacher, is_foreign, open_any
from tfqkd.fronts.front import Front, Opened
from tfqkd.reporting.evaluated import EVALUATION_FILE
from tfqkd.reporting.figures import plot_confusion
from tfqkd.reporting.results import rows_of
from tfqkd.runtime.evaluation import Difference, Evaluation, evaluate_outputs, paired_difference
from tfqkd.runtime.outputs import LOGITS
from tfqkd.storage import write_atomically
from tfqkd.training.directory import read_recipe
from tfqkd.training.execution import front_of, load_data
from tfqkd.training.exporting import shown
from tfqkd.training.results import ModelResult, Results
from tfqkd.training.run import EXPORT_DIRECTORY

_BATCH = 500


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One model or file of a run, measured.

    Attributes:
        name: The model's role, or the exported file's name.
        figures: Its figures on the test images.
        agreement: Share of test images on which it chooses the teacher's class, that of the mean logits of
            several teachers; None without one.
        over_first: How much more accurate it is than the first of the files that were measured together; None
            for that one, and in a run.
    """

    name: str
    figures: Evaluation
    agreement: float | None
    over_first: Difference | None = None


def measure_run(directory: pathlib.Path, data_dir: str = "") -> list[Measurement]:
    """Measures the models and exported files of a finished run; writes `evaluation.json` and `confusion.png`.

    Args:
        directory: The run directory.
        data_dir: Where TFDS data sets are now; as in the recipe if empty.

    Returns:
        A measurement for each model, in the order of the stages, then for each file in `export`.
    """
    results, recipe = Results.read(directory), read_recipe(directory)
    data = load_data(recipe, data_dir)
    front = front_of(recipe)
    names = model_names(results)
    # The models of a run were trained on their logits.
    logits = {
        model: _logits_of(front, directory / model.model, recipe.run.keras, data.test.images)
        for model in results.models
    }

    def teacher_of(model: ModelResult) -> np.ndarray | None:
        teachers = [logits[teacher] for teacher in results.teachers_of(model)]
        return np.mean(teachers, axis=0) if teachers else None

    measurements = [
        _measure(name, logits[model], LOGITS, data, teacher_of(model))
        for name, model in zip(names, results.models, strict=True)
    ]
    teacher = teacher_of(results.student)
    # Not those of results.json alone: bin/export may have added some.
    for form in FORMATS.values():
        path = directory / EXPORT_DIRECTORY / form.file_name
        if path.exists():
            returned = _run(open_any(path), data.test.images)
            measurements.append(_measure(form.file_name, *returned, data, teacher))
    others = {model for row in rows_of(results) for model in row.models[:-1]}
    hidden = {name for name, model in zip(names, results.models, strict=True) if model in others}
    _write(directory, measurements, data, hidden)
    return measurements


def measure_files(paths: list[pathlib.Path], data: ImageData) -> list[Measurement]:
    """Measures models and exported files on the test images of a data set.

    Args:
        paths: Keras models and exported files.
        data: The data set.

    Returns:
        A measurement for each path, without agreement; of all but the first with the difference to it.

    Raises:
        ValueError: If one does not take the data set's images, or has another number of classes, or says
            that images are to be cut to their middle while they are not; before any is measured.
    """
    models = {path: open_any(path) for path in paths}
    for path, model in models.items():
        if not _takes(model, data):
            raise ValueError(
                "A model must take the images of the data set. "
                f"Received: {path} for {model.image_shape}, {data.name!r} with {data.image_shape}. "
                "Choose the data set that it was trained on, or give the --image_size of its training."
            )
        if model.centre_crop and not data.centre_crop:
            raise ValueError(
                "A model that was trained on the middle of images must be measured on it. "
                f"Received: {path}, {data.name!r} with whole images. Add --centre_crop."
            )
        classes = model.serve(data.test.images[:1]).shape[1]
        if classes != data.classes:
            raise ValueError(
                "A model must have an output for each class of the data set. "
                f"Received: {path} with {classes}, {data.name!r} with {data.classes} classes. "
                "Choose the data set that it was trained on."
            )
    measurements, first = [], None
    for path, model in models.items():
        outputs, output = _run(model, data.test.images)
        measurement = _measure(str(path), outputs, output, data, None)
        right = outputs.argmax(axis=1) == data.test.labels
        if first is None:
            first = right
        else:
            over_first = paired_difference(right, first)
            measurement = dataclasses.replace(measurement, over_first=over_first)
        measurements.append(measurement)
    return measurements


def export_run(
    directory: pathlib.Path,
    formats: list[str],
    output: pathlib.Path,
    data_dir: str = "",
    **options: Any,
) -> list[Report]:
    """Exports the last model of a finished run, verified on its test images.

    Args:
        directory: The run directory.
        formats: Names of formats.
        output: Where the files go.
        data_dir: Where TFDS data sets are now; as in the recipe if empty.
        **options: Of formats: `head`, `dense_kernels`, `input_type`, `output_type` and `arena_bytes`, as for
            `tfqkd.export.export`.
    """
    from tfqkd.export.choice import export  # noqa: PLC0415 (knows Keras)

    recipe = read_recipe(directory)
    results = Results.read(directory)
    data = load_data(recipe, data_dir)
    model = front_of(recipe).load(directory / results.student.model)
    return export(
        model,
        output,
        formats,
        output=LOGITS,
        **options,
        **shown(data),
    )


def model_names(results: Results) -> list[str]:
    """Returns a name for each model of a run; where one label has several seeds, with the seed."""
    several = {row.label for row in rows_of(results) if len(row.models) > 1}
    return [
        f"{model.label} ({model.name})" + (f", seed {model.seed}" if model.label in several else "")
        for model in results.models
    ]


def export_file(
    path: pathlib.Path,
    formats: list[str],
    output: pathlib.Path,
    data: ImageData | None,
    **options: Any,
) -> list[Report]:
    """Exports a saved model of either Keras.

    Args:
        path: The file, or the folder of a SavedModel.
        formats: Names of formats.
        output: Where the files go.
        data: What to verify and calibrate on, whose classes are named in the files; None for random images.
        **options: As for `export_run`.
    """
    from tfqkd.export.choice import export  # noqa: PLC0415 (knows Keras)

    return export(
        load_file(path),
        output,
        formats,
        **options,
        **({} if data is None else shown(data)),
    )


def run_file(path: pathlib.Path, images: np.ndarray) -> np.ndarray:
    """Returns the outputs `[N, classes]` of a Keras model or exported file for raw images `[N, H, W, C]`."""
    return _run(open_any(path), images)[0]


def _run(model: Opened, images: np.ndarray | Pictures) -> tuple[np.ndarray, str]:
    """Returns a model's outputs for all images, and what they are."""
    starts = range(0, len(images), _BATCH)
    outputs = np.concatenate([model.serve(images[start : start + _BATCH]) for start in starts])
    return outputs, model.output if isinstance(model.output, str) else model.output(outputs)


def _takes(model: Opened, data: ImageData) -> bool:
    # A runtime says 0 where any size will do.
    pairs = zip(model.image_shape, data.image_shape, strict=len(model.image_shape) == 3)
    return len(model.image_shape) == 3 and all(has in (None, 0, want) for has, want in pairs)


def _measure(
    name: str, outputs: np.ndarray, output: str, data: ImageData, teacher: np.ndarray | None
) -> Measurement:
    same = None if teacher is None else float(np.mean(outputs.argmax(1) == teacher.argmax(1)))
    return Measurement(name, evaluate_outputs(outputs, data.test.labels, output), same)


def _write(
    directory: pathlib.Path, measurements: list[Measurement], data: ImageData, hidden: set[str]
) -> None:
    """Writes all measurements, and the confusion matrices of those that are not hidden."""
    listed: list[dict[str, Any]] = []
    for measurement in measurements:
        figures = dataclasses.asdict(measurement.figures)
        figures["confusion"] = measurement.figures.confusion.tolist()
        listed.append(
            {
                "name": measurement.name,
                "agreement": measurement.agreement,
                "calibration_error": measurement.figures.calibration_error,
                "precision": measurement.figures.precision,
                "recall": measurement.figures.recall,
                **figures,
            }
        )
    text = json.dumps({"class_names": data.class_names, "models": listed}) + "\n"
    write_atomically(directory / EVALUATION_FILE, text)
    matrices = {
        measurement.name: measurement.figures.confusion
        for measurement in measurements
        if measurement.name not in hidden
    }
    plot_confusion(matrices, data.class_names, directory / "confusion.png")


def _logits_of(
    front: Front, path: pathlib.Path, keras: int, images: np.ndarray | Pictures
) -> np.ndarray:
    """Returns a saved model's logits for raw images, whoever loads it."""
    if is_foreign(path, keras):
        return ForeignTeacher(path).logits(images)
    return front.logits(front.load(path), images)
