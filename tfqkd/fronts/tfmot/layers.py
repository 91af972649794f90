"""The Keras layer that keeps quantized activations in a stripped model."""

from typing import Any

from tfqkd.compat import keras, tf


@keras.utils.register_keras_serializable(package="tfqkd")
class ActivationQuantization(keras.layers.Layer):
    """Rounds to multiples of a fixed step: `Δ · round(clip(x/Δ, lower, upper))`; halves go to even.

    It computes in float32 and returns the dtype that it got. It is for inference: its gradient is that of
    `tf.round`, zero.

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

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns the quantized activations, in the shape and dtype of `inputs`."""
        step = tf.constant(self.step, tf.float32)
        ratio = tf.cast(inputs, tf.float32) / step
        codes = tf.round(tf.clip_by_value(ratio, float(self.lower), float(self.upper)))
        return tf.cast(codes * step, inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {
            **super().get_config(),
            "step": self.step,
            "lower": self.lower,
            "upper": self.upper,
        }
