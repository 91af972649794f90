"""Measures everything that a run left, Keras models and exported files, on the test images."""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np

from tfqkd.data.images import ImageData
from tfqkd.export.formats import FORMATS
from tfqkd.export.report import Report
from tfqkd.fronts import choose
from tfqkd.fronts.files import load_file, open_file
from tfqkd.fronts.front import Opened
from tfqkd.reporting.figures import plot_confusion
from tfqkd.runtime import load
from tfqkd.runtime.loading import RUNTIME_SUFFIXES
from tfqkd.runtime.outputs import LOGITS
from tfqkd.storage import write_atomically
from tfqkd.training.comparison_directory import COMPARISON_FILE
from tfqkd.training.directory import RESULTS_FILE, read_recipe, read_results
from tfqkd.training.evaluation import Evaluation, evaluate_outputs
from tfqkd.training.run import EXPORT_DIRECTORY, TEACHER_ROLE, load_data
from tfqkd.training.stages import CALIBRATION_IMAGES, VERIFIED_IMAGES

_BATCH = 500


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One model or file of a run, measured.

    Attributes:
        name: The model's role, or the exported file's name.
        figures: Its figures on the test images.
        agreement: Share of test images on which it chooses the teacher's class, that of the mean logits of
            several teachers; None without one.
    """

    name: str
    figures: Evaluation
    agreement: float | None


def run_directories(directory: pathlib.Path) -> list[pathlib.Path]:
    """Returns the finished runs in a directory: itself, or those of a comparison.

    Raises:
        ValueError: If there is none.
    """
    holds_runs = (directory / COMPARISON_FILE).exists()
    found = sorted(directory.glob(f"*/{RESULTS_FILE}")) if holds_runs else []
    if (directory / RESULTS_FILE).exists():
        found = [directory / RESULTS_FILE]
    if not found:
        raise ValueError(
            "A run directory must hold a finished run or comparison. "
            f"Received: {directory}, without {RESULTS_FILE} or {COMPARISON_FILE}. "
            "Finish the run first: the same bin/train command goes on where it stopped."
        )
    return [file.parent for file in found]


def measure_run(directory: pathlib.Path, data_dir: str = "") -> list[Measurement]:
    """Measures the models and exported files of a finished run; writes `evaluation.json` and `confusion.png`.

    Args:
        directory: The run directory.
        data_dir: Where TFDS data sets lie now; as in the recipe if empty.

    Returns:
        A measurement for each model, in the order of the stages, then for each file in `export`.
    """
    recipe = read_recipe(directory)
    data = load_data(dataclasses.replace(recipe, data_dir=data_dir or recipe.data_dir))
    results = read_results(directory)
    front = choose()
    # The models of a run were trained on their logits.
    logits = {
        f"{model['role']} ({model['name']})": front.logits(
            front.load(directory / model["model"]), data.test.images
        )
        for model in results["models"]
    }
    answers = {name: (values, LOGITS) for name, values in logits.items()}
    teachers = [
        logits[f"{model['role']} ({model['name']})"]
        for model in results["models"]
        if model["role"].startswith(TEACHER_ROLE)
    ]
    teacher = np.mean(teachers, axis=0) if teachers else None
    # Not those of results.json alone: bin/export may have added some.
    for form in FORMATS.values():
        path = directory / EXPORT_DIRECTORY / form.file_name
        if path.exists():
            answers[form.file_name] = _run(_open(path), data.test.images)
    measurements = [_measure(name, *answer, data, teacher) for name, answer in answers.items()]
    _write(directory, measurements, data)
    return measurements


def measure_files(paths: list[pathlib.Path], data: ImageData) -> list[Measurement]:
    """Measures models and exported files on the test images of a data set.

    Args:
        paths: Keras models and exported files.
        data: The data set.

    Returns:
        A measurement for each path, without agreement.

    Raises:
        ValueError: If one does not take the data set's images, or has another number of classes; before any
            is measured.
    """
    models = {path: _open(path) for path in paths}
    for path, model in models.items():
        if not _takes(model, data):
            raise ValueError(
                "A model must take the images of the data set. "
                f"Received: {path} for {model.image_shape}, {data.name!r} with {data.image_shape}. "
                "Choose the data set that it was trained on."
            )
        classes = model.serve(data.test.images[:1]).shape[1]
        if classes != data.classes:
            raise ValueError(
                "A model must have an output for each class of the data set. "
                f"Received: {path} with {classes}, {data.name!r} with {data.classes} classes. "
                "Choose the data set that it was trained on."
            )
    return [
        _measure(str(path), *_run(model, data.test.images), data, None)
        for path, model in models.items()
    ]


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
        data_dir: Where TFDS data sets lie now; as in the recipe if empty.
        **options: Of formats: `head`, `dense_kernels`, `input_type` and `output_type`, as for
            `tfqkd.export.to_litert`.
    """
    from tfqkd.export.exporter import export  # noqa: PLC0415 (knows Keras)

    recipe = read_recipe(directory)
    data = load_data(dataclasses.replace(recipe, data_dir=data_dir or recipe.data_dir))
    if not (directory / RESULTS_FILE).exists():
        raise ValueError(
            "Only a finished run can be exported. "
            f"Received: {directory}, without {RESULTS_FILE}. Finish it with the same bin/train command, or "
            "name one of the runs in a comparison."
        )
    results = read_results(directory)
    return export(
        choose().load(directory / results["models"][-1]["model"]),
        output,
        formats,
        output=LOGITS,
        **options,
        **_shown(data),
    )


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
        **({} if data is None else _shown(data)),
    )


def _shown(data: ImageData) -> dict[str, Any]:
    """The names, and the images to verify, calibrate and test on, as exporters take them."""
    return {
        "class_names": data.class_names,
        "images": data.test.sample(VERIFIED_IMAGES),
        "calibration": data.train.sample(CALIBRATION_IMAGES),
        "test": (data.test.images, data.test.labels),
    }


def run_file(path: pathlib.Path, images: np.ndarray) -> np.ndarray:
    """Returns the outputs `[N, classes]` of a Keras model or exported file for raw images `[N, H, W, C]`."""
    return _run(_open(path), images)[0]


def _open(path: pathlib.Path) -> Opened:
    """Opens a model or exported file."""
    if path.suffix in RUNTIME_SUFFIXES:
        model = load(path)
        return Opened(model.input_shape, model, model.output)
    return open_file(path)


def _run(model: Opened, images: np.ndarray) -> tuple[np.ndarray, str]:
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


def _write(directory: pathlib.Path, measurements: list[Measurement], data: ImageData) -> None:
    listed: list[dict[str, Any]] = []
    for measurement in measurements:
        figures = dataclasses.asdict(measurement.figures)
        figures["confusion"] = measurement.figures.confusion.tolist()
        listed.append({"name": measurement.name, "agreement": measurement.agreement, **figures})
    text = json.dumps({"class_names": data.class_names, "models": listed}) + "\n"
    write_atomically(directory / "evaluation.json", text)
    matrices = {measurement.name: measurement.figures.confusion for measurement in measurements}
    plot_confusion(matrices, data.class_names, directory / "confusion.png")
