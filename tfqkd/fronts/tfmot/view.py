"""The variables of a training of tf_keras as methods see them; see `tfqkd.fronts.view`."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from tfqkd.compat import keras, tf, true_value
from tfqkd.fronts.tfmot.cloning import plain_layer
from tfqkd.fronts.tfmot.kernels import require_kernel
from tfqkd.fronts.tfmot.model import quantized_kernels
from tfqkd.fronts.variables import KerasView


@dataclasses.dataclass(frozen=True)
class KerasVariable:
    """A variable of TensorFlow under a name of its own; see `tfqkd.fronts.view.Variable`."""

    name: str
    variable: tf.Variable

    def read(self) -> np.ndarray:
        """Returns its value."""
        return true_value(self.variable).numpy()

    def assign(self, value: np.ndarray) -> None:
        """Sets its value, on every device."""
        self.variable.assign(value)


def view_of(
    trained: keras.Model,
    beside: Sequence[keras.Model],
    optimizer: keras.optimizers.Optimizer,
    epochs: int,
    keep: Callable[[str, tf.Variable], None],
    settle: Callable[[bool], None],
) -> KerasView:
    """Returns the view of a training.

    Args:
        trained: The student.
        beside: The networks that train along.
        optimizer: Built for all that trains.
        epochs: Of the whole training.
        keep: Puts a named variable into every checkpoint.
        settle: Measures batch norm again; called with whether the images are augmented.
    """
    layers = {plain_layer(layer).name: plain_layer(layer) for layer in trained.layers}
    kernels = [kernel for kernel in quantized_kernels(trained) if kernel.trainable]
    axes = [require_kernel(layers[each.layer], each.attribute).channel_axes for each in kernels]

    def add(name: str, first: np.ndarray) -> tf.Variable:
        variable = tf.Variable(first, dtype=tf.float32, trainable=False, name=name)
        keep(name, variable)
        return variable

    def requantize() -> None:
        for kernel in kernels:
            kernel.follow()

    pairs = list(zip(kernels, axes, strict=True))
    return KerasView(
        KerasVariable, pairs, trained.layers, beside, optimizer, epochs, add, requantize, settle
    )
