"""The Keras layer that keeps quantized activations in a stripped model."""

from typing import Any

import keras

_ops = keras.ops


@keras.saving.register_keras_serializable("tfqkd")
class ActivationQuantization(keras.layers.Layer):
    """Rounds to multiples of a fixed step: `Δ · round(clip(x/Δ, lower, upper))`; halves go to even.

    It computes in float32 and returns the dtype that it got. It is for inference: its gradient is that of
    `round`, zero.

    Args:
        step: Δ > 0.
        lower: The least code: 0, or negative for signed activations.
        upper: The largest code.
    """

    def __init__(self, step: float, lower: int, upper: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step = step
        self.lower = lower
        self.upper = upper
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Returns the quantized activations, in the shape and dtype of `inputs`."""
        ratio = _ops.cast(inputs, "float32") / self.step
        codes = _ops.round(_ops.clip(ratio, float(self.lower), float(self.upper)))
        return _ops.cast(codes * self.step, inputs.dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the shape of the inputs."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        settings = {"step": self.step, "lower": self.lower, "upper": self.upper}
        return {**super().get_config(), **settings}
