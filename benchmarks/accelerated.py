"""Makes tfqkd's own files of the networks in `results/accelerator`, with cards and a table.

Runs of `bin/train` on Keras 3 have trained these, those of CIFAR-100 a runner that was there before.

    python -m benchmarks.accelerated results/accelerator/cifar100 DIR

DIR holds the TFDS data set: each file is measured on its test images, once more after the training did.
"""

import json
import pathlib
import sys
import tempfile
from typing import Any

import keras as keras3
import numpy as np

from benchmarks.accelerated_pages import SHIPPED, cards, read, table
from benchmarks.shipping import compress
from tfqkd.compat import keras
from tfqkd.data import load
from tfqkd.data.images import ImageData
from tfqkd.export.exporter import export
from tfqkd.models import build
from tfqkd.models.pretrained import DIRECTORY
from tfqkd.reporting.measurement import run_file
from tfqkd.runtime.evaluation import evaluate_logits
from tfqkd.storage import write_atomically

MOMENTS = {
    "cifar10": ((125.31, 122.95, 113.87), (62.99, 62.09, 66.70)),
    "cifar100": ((129.30, 124.07, 112.43), (68.17, 65.39, 70.42)),
}
"""Mean and deviation of the training pixels, by which the networks of the runner before normalize."""


def network(folder: pathlib.Path, stage: str, shape: tuple, classes: int) -> keras.Model:
    """Returns a stage's network in tf_keras, whose ternary kernels hold Δ times their codes.

    Args:
        folder: That of the runs, or of `STAGE.npz` and `STAGE.json`.
        stage: Its name.
        shape: Height, width and channels of the images.
        classes: Of the data set.
    """
    said = read(folder, stage)
    moments, kept = (
        _of_keras3(folder / said["model"])
        if "model" in said
        else (MOMENTS[said["options"]["dataset"]], _arrays(folder / f"{stage}.npz"))
    )
    mean, std = moments
    model = build(said["stage"]["network"], shape, classes, mean=mean, std=std)
    for variable in model.variables:
        variable.assign(kept[variable.name.removesuffix(":0")])
    return model


def _arrays(file: pathlib.Path) -> dict[str, np.ndarray]:
    with np.load(file) as kept:
        return dict(kept)


def _of_keras3(file: pathlib.Path) -> tuple[tuple[Any, Any], dict[str, np.ndarray]]:
    """Returns mean and deviation of the pixels, and the variables by their paths."""
    model = keras3.saving.load_model(file, compile=False)
    (pixels,) = (each for each in model.layers if isinstance(each, keras3.layers.Normalization))
    moments = np.array(pixels.input_mean), np.sqrt(pixels.input_variance)
    return moments, {variable.path: variable.numpy() for variable in model.variables}


def calibration_error(logits: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Returns `Σ_b |hits_b - Σ confidence_b| / n` over bins of equal width of the largest probability.

    Source: On Calibration of Modern Neural Networks (arXiv 1706.04599), equation 3.
    """
    logits = logits.astype(np.float64)
    odds = np.exp(logits - logits.max(1, keepdims=True))
    confidence = odds.max(1) / odds.sum(1)
    at = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(at, (odds.argmax(1) == labels) - confidence)
    return float(np.abs(gaps).sum() / len(labels))


def make(folder: pathlib.Path, stage: str, data: ImageData, to: pathlib.Path) -> dict[str, Any]:
    """Writes a stage's compressed Keras file, and the 2-bit LiteRT file if it is ternary.

    Args:
        folder: See `network`.
        stage: See `network`.
        data: Its data set.
        to: The file without its suffix.

    Returns:
        What the smallest file has on the test images, its parameters, and the share that is ternary.
    """
    model = network(folder, stage, data.image_shape, data.classes)
    formats = ["keras", *(["litert-int2"] if read(folder, stage)["stage"]["ternary"] else [])]
    names, images = data.class_names, data.test.sample(64)
    with tempfile.TemporaryDirectory() as exports:
        reports = export(model, exports, formats, class_names=names, images=images, output="logits")
        compress(pathlib.Path(reports[0].path), to.with_name(f"{to.name}.keras"))
        for report in reports[1:]:
            pathlib.Path(report.path).rename(to.with_name(f"{to.name}.tflite"))
        file = to.with_name(f"{to.name}.{'keras' if len(reports) == 1 else 'tflite'}")
    logits, labels = run_file(file, data.test.images), data.test.labels
    found = evaluate_logits(logits, labels)
    parameters = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    ternary = sum(kernel.weights for kernel in reports[-1].quantized)
    figures = {"stage": stage, "parameters": parameters, "quantized_share": ternary / parameters}
    figures |= {"accuracy": found.accuracy, "top5": found.top5, "loss": found.loss}
    return figures | {"calibration_error": calibration_error(logits, labels)}


def main(folder: pathlib.Path, data_dir: str) -> None:
    """Writes the files that come with tfqkd, what they have, their cards and the table of all stages."""
    data = load(folder.name, data_dir=data_dir)
    figures = {
        f"{name}_{folder.name}": make(folder, stage, data, DIRECTORY / f"{name}_{folder.name}")
        for name, stage in SHIPPED[folder.name].items()
    }
    write_atomically(folder / "files.json", json.dumps(figures, indent=2) + "\n")
    cards(folder, figures, data, DIRECTORY)
    write_atomically(folder / "table.md", table(folder) + "\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), sys.argv[2])
