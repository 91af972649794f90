"""One training step of Keras 3 with HGQ2 and keras.distillation: `python ...keras_row.py ROW`."""

import os
import pathlib
import sys
from collections.abc import Callable

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf
from hgq.config import QuantizerConfig
from hgq.layers import QConv2D
from keras.distillation import DistillationLoss, Distiller

from benchmarks.contestant import serve
from benchmarks.peers.keras_resnet import resnet

BATCH, TEMPERATURE, COEFFICIENT = 128, 2.0, 0.5


class SoftLoss(DistillationLoss):
    """The cross-entropy of softened outputs: Keras' own `LogitsDistillation` applies no softmax."""

    def compute_loss(self, teacher_outputs: object, student_outputs: object, **_: object) -> object:
        """Returns the mean over the batch."""
        target = keras.ops.softmax(teacher_outputs / TEMPERATURE)
        said = keras.ops.log_softmax(student_outputs / TEMPERATURE)
        return -keras.ops.mean(keras.ops.sum(target * said, axis=-1)) * TEMPERATURE**2


def prepare(row: str) -> Callable[[int], object]:
    """Builds a row of the table."""

    def float_convolution(filters: int, size: int, strides: int) -> keras.Layer:
        return keras.layers.Conv2D(filters, size, strides, padding="same", use_bias=False)

    model = resnet(keras, float_convolution if row == "float" else _two_bit())
    if row == "ternary, live teacher":
        model = Distiller(
            teacher=resnet(keras, float_convolution, width=2),
            student=model,
            distillation_losses=SoftLoss(),
            distillation_loss_weights=1.0,
            student_loss_weight=1 - COEFFICIENT,
        )
    model.compile(
        optimizer=keras.optimizers.SGD(1e-4, momentum=0.9, nesterov=True),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
    )
    generator = np.random.default_rng(0)
    images = generator.normal(size=(4, BATCH, 32, 32, 3)).astype(np.float32)
    labels = np.eye(10, dtype=np.float32)[generator.integers(0, 10, (4, BATCH))]
    batches = tf.data.Dataset.from_tensor_slices((images, labels))
    model.fit(batches, verbose=0)
    stream = iter(batches.repeat().prefetch(2))
    train = model.make_train_function() or model.train_function

    def run(steps: int) -> object:
        for _ in range(steps):
            logs = train(stream)
        return float(logs["loss"])

    return run


def _two_bit() -> Callable[[int, int, int], keras.Layer]:
    """HGQ2's convolution with fixed 2-bit weights, and neither activations nor bit widths learned."""
    weights = QuantizerConfig(q_type="kif", place="weight", k0=True, i0=1, f0=0, fr=None, ir=None)

    def convolution(filters: int, size: int, strides: int) -> keras.Layer:
        return QConv2D(
            filters,
            size,
            strides,
            padding="same",
            use_bias=False,
            kq_conf=weights,
            enable_iq=False,
            enable_ebops=False,
        )

    return convolution


if __name__ == "__main__":
    serve(lambda: prepare(sys.argv[1]))
