"""One training step of ours: `python -m benchmarks.ours ROW`. ResNet20, 32x32x3, random images."""

import argparse
import atexit
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable

import numpy as np

from benchmarks.worker import serve
from tfqkd.compat import keras, tf
from tfqkd.data import Augmentation, load, training_batches
from tfqkd.distillation.distiller import Distiller
from tfqkd.distillation.logits import read_logits, write_logits
from tfqkd.distillation.teachers import LOGITS_IN_BATCH
from tfqkd.models import build
from tfqkd.quantization.model import quantize_model
from tfqkd.quantization.published_quantizers import LsqQuantizer
from tfqkd.quantization.schemes import Scheme, UniformScheme
from tfqkd.training.strategy import make_strategy

TEACHER = "wrn20x2"
SCHEMES = {
    "ternary": UniformScheme(2),
    "ternary, per channel": UniformScheme(2, "channel"),
    "ternary, step anew": UniformScheme(2, step_update="every_step"),
    "ternary, step anew per channel": UniformScheme(2, "channel", "every_step"),
    "2 bits, learned step": Scheme(LsqQuantizer(2)),
    "2 bits, learned step per channel": Scheme(LsqQuantizer(2, "channel")),
}
LIMIT = "sgemm of as many multiply-adds"
ROWS = (
    LIMIT,
    "float",
    *SCHEMES,
    "teacher's forward pass",
    "ternary, live teacher",
    "ternary, cached logits",
)


def prepare(row: str, settings: argparse.Namespace) -> Callable[[int], object]:
    """Builds a row of the table; returns what runs its steps.

    Args:
        row: One of `ROWS`.
        settings: Batch, model, classes and how the step is compiled; see `main`.
    """
    keras.utils.set_random_seed(0)
    keras.mixed_precision.set_global_policy(settings.mixed_precision)
    batch, classes = settings.batch_size, settings.classes
    strategy = _strategy(settings.devices, settings.workers)
    with strategy.scope():
        if row == LIMIT:
            return _sgemm(batch * step_macs(build(settings.model, (32, 32, 3), classes)))
        if row == "teacher's forward pass":
            return _forward(build(TEACHER, (32, 32, 3), classes), _batches(batch, classes, ""))
        model = build(settings.model, (32, 32, 3), classes)
        if row != "float":
            model = quantize_model(model, SCHEMES.get(row, SCHEMES["ternary"]))
        kept = row == "ternary, cached logits"
        if row == "ternary, live teacher":
            model = Distiller(student=model, teacher=build(TEACHER, (32, 32, 3), classes))
        elif kept:
            model = Distiller(student=model, teacher=LOGITS_IN_BATCH)
        model.compile(
            keras.optimizers.SGD(1e-4, momentum=0.9, nesterov=True),
            keras.losses.CategoricalCrossentropy(from_logits=True),
            ["accuracy"],
            jit_compile=settings.jit_compile,
            steps_per_execution=settings.steps_per_execution,
        )
    model.build((None, 32, 32, 3))
    batches = (
        _real_batches(settings.data_dir, batch, kept)
        if settings.data_dir
        else _batches(batch, classes, "logits" if kept else "labels")
    )
    stream = iter(strategy.experimental_distribute_dataset(batches))
    train = model.make_train_function()

    def run(steps: int) -> object:
        for _ in range(max(1, steps // settings.steps_per_execution)):
            logs = train(stream)
        return float(logs["loss"])

    return run


def _strategy(devices: int, workers: int) -> tf.distribute.Strategy:
    if workers > 1:
        return tf.distribute.MultiWorkerMirroredStrategy()
    if devices == 1:
        return make_strategy("auto", 1)
    (cpu,) = tf.config.list_physical_devices("CPU")
    logical = [tf.config.LogicalDeviceConfiguration()] * devices
    tf.config.set_logical_device_configuration(cpu, logical)
    return tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(devices)])


def _batches(batch: int, classes: int, second: str) -> tf.data.Dataset:
    """Batches that are made before the first step: the step alone is measured."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (4, batch, 32, 32, 3), dtype=np.uint8)
    labels = np.eye(classes, dtype=np.float32)[generator.integers(0, classes, (4, batch))]
    logits = generator.normal(0, 3, (4, batch, classes)).astype(np.float16)
    parts = {"": images, "labels": (images, labels), "logits": ((images, logits), labels)}
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    batches = tf.data.Dataset.from_tensor_slices(parts[second]).with_options(options)
    return batches.repeat().prefetch(2)


def _real_batches(data_dir: str, batch: int, kept: bool) -> tf.data.Dataset:
    """Batches of CIFAR-10 as a training draws them: shuffled and augmented while it steps."""
    data = load("cifar10", data_dir=data_dir)
    views = {"fixed_views": 1, "teacher_logits": [kept_logits(len(data.train))]} if kept else {}
    return training_batches(
        data.train,
        batch_size=batch,
        classes=data.classes,
        seed=0,
        augmentation=Augmentation(),
        epochs=10_000,
        **views,
    )


def kept_logits(count: int) -> tf.Tensor:
    """Logits of 10 classes as a training has them: read from their file."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="tfqkd-benchmark-"))
    atexit.register(shutil.rmtree, directory)
    write_logits(directory, count, 10, lambda start, stop: np.ones((stop - start, 10)))
    return read_logits(directory, count, 10)


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


def _forward(teacher: keras.Model, batches: tf.data.Dataset) -> Callable[[int], object]:
    stream = iter(batches)

    @tf.function
    def forward(images: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(teacher(images, training=False))

    def run(steps: int) -> object:
        for _ in range(steps):
            total = forward(next(stream))
        return float(total)

    return run


def _start_workers(count: int) -> None:
    """Starts the other workers of a cluster on loopback; they step whenever this one does."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    for index in range(count - 1, -1, -1):
        cluster = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        os.environ["TF_CONFIG"] = json.dumps(cluster)
        if index:
            command = [sys.executable, "-m", "benchmarks.ours", *sys.argv[1:]]
            # It must not hold the pipe of the answers, nor write between them.
            worker = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            atexit.register(worker.kill)


def main() -> None:
    """Parses the row and serves it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("row", choices=ROWS)
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--data_dir", default="", help="train on CIFAR-10, which TFDS keeps there")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--mixed_precision", default="float32")
    parser.add_argument("--jit_compile", action="store_true")
    parser.add_argument("--steps_per_execution", type=int, default=1)
    settings = parser.parse_args()
    if settings.workers > 1 and "TF_CONFIG" in os.environ:
        run = prepare(settings.row, settings)
        while True:
            run(1)
    if settings.workers > 1:
        _start_workers(settings.workers)
    serve(lambda: prepare(settings.row, settings))


if __name__ == "__main__":
    main()
