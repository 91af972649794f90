"""Measures everything that a run left, Keras models and exported files, on the test images."""

import dataclasses
import functools
import json
import pathlib
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from tfqkd.compat import tf
from tfqkd.data.images import ImageData
from tfqkd.export.exporter import export
from tfqkd.export.formats import FORMATS
from tfqkd.export.keras_file import METADATA_ENTRY
from tfqkd.export.outputs import output_of
from tfqkd.export.report import Report
from tfqkd.export.saved_model import METADATA_FILE
from tfqkd.reporting.figures import plot_confusion
from tfqkd.runtime import load
from tfqkd.runtime.loading import RUNTIME_SUFFIXES
from tfqkd.runtime.outputs import LOGITS
from tfqkd.runtime.signature import INPUT, SIGNATURE
from tfqkd.storage import write_atomically
from tfqkd.training.comparison_directory import COMPARISON_FILE
from tfqkd.training.directory import RESULTS_FILE, read_recipe, read_results
from tfqkd.training.evaluation import Evaluation, evaluate_outputs
from tfqkd.training.model_files import require_pure_graph
from tfqkd.training.run import EXPORT_DIRECTORY, TEACHER_ROLE, load_data, predict
from tfqkd.training.saved_models import load_model
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
    # The models of a run were trained on their logits.
    logits = {
        f"{model['role']} ({model['name']})": predict(
            load_model(directory / model["model"]), data.test
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
            answers[form.file_name] = _Opened.of(path).run(data.test.images)
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
    models = {path: _Opened.of(path) for path in paths}
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
        _measure(str(path), *model.run(data.test.images), data, None)
        for path, model in models.items()
    ]


def export_run(
    directory: pathlib.Path,
    formats: list[str],
    output: pathlib.Path,
    data_dir: str = "",
    *,
    head: str = "float32",
    dense_kernels: str = "exact",
) -> list[Report]:
    """Exports the last model of a finished run, verified on its test images.

    Args:
        directory: The run directory.
        formats: Names of formats.
        output: Where the files go.
        data_dir: Where TFDS data sets lie now; as in the recipe if empty.
        head: See `tfqkd.export.to_litert`.
        dense_kernels: See `tfqkd.export.to_litert`.
    """
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
        load_model(directory / results["models"][-1]["model"]),
        output,
        formats,
        class_names=data.class_names,
        images=data.test.sample(VERIFIED_IMAGES),
        calibration=data.train.sample(CALIBRATION_IMAGES),
        test=(data.test.images, data.test.labels),
        head=head,
        dense_kernels=dense_kernels,
        output=LOGITS,
    )


def run_file(path: pathlib.Path, images: np.ndarray) -> np.ndarray:
    """Returns the outputs `[N, classes]` of a Keras model or exported file for raw images `[N, H, W, C]`."""
    return _Opened.of(path).run(images)[0]


@dataclasses.dataclass(frozen=True)
class _Opened:
    """A Keras model or exported file that is ready to run.

    Attributes:
        image_shape: Height, width and channels that it takes; None where any will do.
        serve: From a batch of raw images to what it returns, `[n, classes]`.
        output: What that is, of `tfqkd.runtime.outputs.OUTPUTS`, or what tells it from the outputs.
    """

    image_shape: tuple[int | None, ...]
    serve: Callable[[np.ndarray], np.ndarray]
    output: str | Callable[[np.ndarray], str]

    @classmethod
    def of(cls, path: pathlib.Path) -> "_Opened":
        """Opens the file."""
        if path.suffix in RUNTIME_SUFFIXES:
            model = load(path)
            return cls(model.input_shape, model, model.output)
        # An exported SavedModel holds a graph alone.
        if (path / "saved_model.pb").exists() and not (path / "keras_metadata.pb").exists():
            return _open_saved_model(path)
        return _open_keras(path)

    def run(self, images: np.ndarray) -> tuple[np.ndarray, str]:
        """Returns its outputs for all images, and what they are."""
        starts = range(0, len(images), _BATCH)
        outputs = np.concatenate([self.serve(images[start : start + _BATCH]) for start in starts])
        return outputs, self.output if isinstance(self.output, str) else self.output(outputs)


def _open_keras(path: pathlib.Path) -> _Opened:
    model = load_model(path)
    if len(model.inputs) > 1 or len(model.outputs) > 1:
        raise ValueError(
            "A model must take images and return logits, and nothing else. Received: "
            f"{path} with {len(model.inputs)} inputs and {len(model.outputs)} outputs. "
            "Save a model of the one that classifies images."
        )
    return _Opened(
        model.input_shape[1:],
        lambda batch: model(tf.cast(batch, tf.float32), training=False).numpy(),
        _stored_output(path) or functools.partial(output_of, model),
    )


def _stored_output(path: pathlib.Path) -> str | None:
    """What a `.keras` file of ours says that it returns."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        known = METADATA_ENTRY in archive.namelist()
        return json.loads(archive.read(METADATA_ENTRY)).get("output") if known else None


def _open_saved_model(path: pathlib.Path) -> _Opened:
    try:
        require_pure_graph(path)
    except ValueError as error:
        raise ValueError(
            f"An exported file must compute logits and do nothing else. Received: {path}: {error}. "
            "Remove it, and export the run again with bin/export."
        ) from error
    loaded = tf.saved_model.load(str(path))
    signature = loaded.signatures.get(SIGNATURE)
    inputs = signature.structured_input_signature[1] if signature else {}
    if set(inputs) != {INPUT}:
        raise ValueError(
            "A SavedModel must be one of Keras, with its layers, or one that tfqkd exported. "
            f"Received: {path}, which takes {', '.join(sorted(inputs)) or 'nothing'}. Save the Keras model "
            "with model.save(...), or export it with tfqkd.export.to_saved_model."
        )
    said = path / METADATA_FILE

    def serve(batch: np.ndarray) -> np.ndarray:
        # Reached through `loaded`, which must live as long as its function.
        answer = loaded.signatures["serving_default"](images=tf.constant(batch, tf.float32))
        (outputs,) = answer.values()
        return outputs.numpy()

    output = json.loads(said.read_text("utf-8"))["output"] if said.exists() else LOGITS
    return _Opened(tuple(inputs[INPUT].shape[1:]), serve, output)


def _takes(model: _Opened, data: ImageData) -> bool:
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
