"""One training step of ours: `python -m benchmarks.ours ROW`. ResNet20, 32x32x3, random images."""

import argparse
import atexit
import dataclasses
import pathlib
import shutil
import tempfile
from collections.abc import Callable

import numpy as np

from benchmarks.contestant import serve
from benchmarks.turns import turns
from tfqkd.compat import keras, tf
from tfqkd.core.quantizers import LsqQuantizer
from tfqkd.core.schemes import Scheme, UniformScheme
from tfqkd.core.teachers import LOGITS_IN_BATCH
from tfqkd.data import ImageData, Split, load
from tfqkd.data.kept_logits import whole_logits, write_logits
from tfqkd.fronts.tfmot import front
from tfqkd.fronts.tfmot.distiller import Distiller
from tfqkd.fronts.tfmot.model import quantize_model
from tfqkd.fronts.tfmot.strategy import RunStrategy, make_strategy
from tfqkd.models import build
from tfqkd.progress import ProgressBar
from tfqkd.recipe.recipe import Recipe
from tfqkd.training.execution import execution_of
from tfqkd.training.fitting import fit
from tfqkd.training.plans import quantized_of, student_of

MODEL, TEACHER = "resnet20", "wrn20x2"
BATCH, CLASSES = 128, 10
SCHEMES = {
    "ternary": UniformScheme(2),
    "ternary, per channel": UniformScheme(2, "channel"),
    "ternary, step anew": UniformScheme(2, step_update="every_step"),
    "ternary, step anew per channel": UniformScheme(2, "channel", "every_step"),
    "2 bits, learned step": Scheme(LsqQuantizer(2)),
    "2 bits, learned step per channel": Scheme(LsqQuantizer(2, "channel")),
}
IMAGES = 16_384
"""Random ones: an epoch is longer than a benchmark, as it is on CIFAR."""
LIMIT = "sgemm of as many multiply-adds"
ROWS = (
    LIMIT,
    "float",
    *SCHEMES,
    "teacher's forward pass",
    "ternary, live teacher",
    "ternary, cached logits",
)


def prepare(row: str, data_dir: str = "", precision: str = "float32") -> Callable[[int], object]:
    """Builds a row of the table; returns what runs its steps.

    Args:
        row: One of `ROWS`.
        data_dir: Where TFDS keeps CIFAR-10, to train on that; random images if empty.
        precision: As that of `--run.mixed_precision`.
    """
    front.start(0, precision)
    if row == LIMIT:
        return _sgemm(BATCH * step_macs(build(MODEL, (32, 32, 3), CLASSES)))
    if row == "teacher's forward pass":
        return _forward(build(TEACHER, (32, 32, 3), CLASSES), BATCH)
    return _training(row, data_dir)


def _training(row: str, data_dir: str) -> Callable[[int], object]:
    """Starts a training as `bin/train` does it, callbacks and all, that makes steps when it is told to."""
    strategy = RunStrategy(make_strategy("auto", 1))
    data = load("cifar10", data_dir=data_dir) if data_dir else random_data()
    # Random images are not augmented.
    augmented = {} if data_dir else {"data.crop_padding": 0, "data.flip": False}
    kept = row == "ternary, cached logits"
    # The peers' optimizer.
    recipe = Recipe(
        {
            "student": MODEL,
            "training.batch_size": BATCH,
            "quantized.training.epochs": 10_000,
            "quantized.training.learning_rate": 1e-4,
            "training.weight_decay": 0.0,
            "teacher.views": int(kept),
            **augmented,
        }
    )
    stage = quantized_of(recipe, student_of(recipe), ())
    if not (kept or row == "ternary, live teacher"):
        stage = dataclasses.replace(stage, distillation=None)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="tfqkd-benchmark-"))
    atexit.register(shutil.rmtree, directory)

    def train(turn: keras.callbacks.Callback) -> None:
        with strategy.scope():
            model = build(MODEL, (32, 32, 3), CLASSES)
            if row != "float":
                model = quantize_model(model, SCHEMES.get(row, SCHEMES["ternary"]))
            if row == "ternary, live teacher":
                teacher = build(TEACHER, (32, 32, 3), CLASSES)
                model = Distiller(student=model, teacher=teacher)
            elif kept:
                model = Distiller(student=model, teacher=LOGITS_IN_BATCH)
            fit(
                front,
                model,
                directory,
                stage=stage,
                execution=execution_of(recipe),
                data=data,
                workers=strategy.workers,
                progress=ProgressBar,
                callbacks=[turn],
                teacher_logits=[kept_logits(len(data.train), data.classes)] if kept else [],
            )

    return turns(keras, train).run


def random_data() -> ImageData:
    """Returns random images of CIFAR-10's size."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (IMAGES, 32, 32, 3), dtype=np.uint8)
    split = Split(images, generator.integers(0, CLASSES, IMAGES))
    return ImageData("random", tuple(map(str, range(CLASSES))), split, None, split)


def kept_logits(count: int, classes: int = 10) -> tf.Tensor:
    """Logits as a training has them: read from their file."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="tfqkd-benchmark-"))
    atexit.register(shutil.rmtree, directory)
    write_logits(directory, count, classes, lambda start, stop: np.ones((stop - start, classes)))
    return front.map_logits(whole_logits(directory, count, classes), count, classes)


def step_macs(model: keras.Model) -> int:
    """Returns the multiply-adds of a training step for one image: forward, and both gradients.

    Of convolutions and dense layers alone; the first layer's input needs no gradient.
    """
    macs = [
        int(np.prod(layer.kernel.shape)) * int(np.prod(layer.output_shape[1:-1]))
        for layer in model.layers
        if hasattr(layer, "kernel")
    ]
    return 3 * sum(macs) - macs[0]


def _sgemm(macs: int) -> Callable[[int], object]:
    side = 1024
    matrix = tf.random.normal([side, side])

    @tf.function
    def multiply() -> tf.Tensor:
        product = matrix
        for _ in tf.range(round(macs / side**3)):
            product = tf.matmul(product, matrix) * 0.03
        return product

    def run(steps: int) -> object:
        for _ in range(steps):
            product = multiply()
        return float(product[0, 0])

    return run


def _forward(teacher: keras.Model, batch: int) -> Callable[[int], object]:
    images = np.random.default_rng(0).integers(0, 256, (4, batch, 32, 32, 3), dtype=np.uint8)
    stream = iter(tf.data.Dataset.from_tensor_slices(images).repeat().prefetch(2))

    @tf.function
    def forward(images: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(teacher(images, training=False))

    def run(steps: int) -> object:
        for _ in range(steps):
            total = forward(next(stream))
        return float(total)

    return run


def main() -> None:
    """Parses the row and serves it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("row", choices=ROWS)
    parser.add_argument("--data_dir", default="", help="train on CIFAR-10, which TFDS keeps there")
    parser.add_argument("--precision", default="float32", help="of --run.mixed_precision")
    settings = parser.parse_args()
    serve(lambda: prepare(settings.row, settings.data_dir, settings.precision))


if __name__ == "__main__":
    main()
