"""One training step of larq on tf_keras: `python benchmarks/peers/larq_row.py ROW`."""

import os
import pathlib
import sys
from collections.abc import Callable

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
os.environ["TF_USE_LEGACY_KERAS"] = "1"

import larq
import numpy as np
import tensorflow as tf
import tf_keras as keras

from benchmarks.contestant import serve
from benchmarks.peers.keras_resnet import resnet

BATCH, TEMPERATURE, COEFFICIENT = 128, 2.0, 0.5


class Distiller(keras.Model):
    """The textbook's: Keras' example of knowledge distillation, with its loss and its alpha."""

    def __init__(self, student: keras.Model, teacher: keras.Model) -> None:
        super().__init__()
        self.student, self.teacher = student, teacher

    def train_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One step on (images, labels)."""
        x, y = data
        said = self.teacher(x, training=False)
        with tf.GradientTape() as tape:
            logits = self.student(x, training=True)
            target = tf.nn.softmax(said / TEMPERATURE)
            soft = tf.nn.softmax_cross_entropy_with_logits(target, logits / TEMPERATURE)
            hard = self.compiled_loss(y, logits)
            loss = (1 - COEFFICIENT) * hard + COEFFICIENT * TEMPERATURE**2 * tf.reduce_mean(soft)
        self.optimizer.minimize(loss, self.student.trainable_variables, tape=tape)
        self.compiled_metrics.update_state(y, logits)
        return {"loss": loss, **{m.name: m.result() for m in self.metrics}}


def prepare(row: str) -> Callable[[int], object]:
    """Builds a row of the table."""

    def float_convolution(filters: int, size: int, strides: int) -> keras.layers.Layer:
        return keras.layers.Conv2D(filters, size, strides, padding="same", use_bias=False)

    def ternary(filters: int, size: int, strides: int) -> keras.layers.Layer:
        return larq.layers.QuantConv2D(
            filters,
            size,
            strides,
            padding="same",
            use_bias=False,
            kernel_quantizer=larq.quantizers.SteTern(),
        )

    model = resnet(keras, float_convolution if row == "float" else ternary)
    if row == "ternary, live teacher":
        model = Distiller(model, resnet(keras, float_convolution, width=2))
    model.compile(
        keras.optimizers.SGD(1e-4, momentum=0.9, nesterov=True),
        keras.losses.CategoricalCrossentropy(from_logits=True),
        ["accuracy"],
    )
    generator = np.random.default_rng(0)
    images = generator.normal(size=(4, BATCH, 32, 32, 3)).astype(np.float32)
    labels = np.eye(10, dtype=np.float32)[generator.integers(0, 10, (4, BATCH))]
    stream = iter(tf.data.Dataset.from_tensor_slices((images, labels)).repeat().prefetch(2))
    train = model.make_train_function()

    def run(steps: int) -> object:
        for _ in range(steps):
            logs = train(stream)
        return float(logs["loss"])

    return run


if __name__ == "__main__":
    serve(lambda: prepare(sys.argv[1]))
