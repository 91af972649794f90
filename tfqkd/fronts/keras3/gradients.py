"""Rounded gradients: an identity whose backward pass rounds stochastically."""

from typing import Any

import keras

from tfqkd.core import dorefa
from tfqkd.fronts.keras3.ops import OPS

_ops = keras.ops


class GradientRounding(keras.layers.Layer):
    """Rounds the gradient of what passes through it, as DoReFa-Net does (`dorefa.rounded_gradient`).

    The seed of the noise is in a variable: a training that is resumed continues from it.

    Args:
        bits: Of the gradient, 2 to 8.
    """

    def __init__(self, bits: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._bits = bits
        self._seed = keras.random.SeedGenerator()
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Returns the inputs."""
        bits = self._bits
        noise = keras.random.uniform(_ops.shape(inputs), -0.5, 0.5, "float32", self._seed)

        @_ops.custom_gradient
        def identity(values: Any, drawn: Any) -> Any:
            def gradient(*args: Any, upstream: Any = None) -> tuple[Any, Any]:
                by_output = args[0] if upstream is None else upstream
                rounded = dorefa.rounded_gradient(by_output, drawn, bits, OPS)
                return rounded, _ops.zeros_like(drawn)

            return values, gradient

        return identity(inputs, noise)
