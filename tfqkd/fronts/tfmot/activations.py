"""The core's activation quantizers as tfmot objects, put on the output of the layer before."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import numpy as np

from tfqkd.compat import keras, tf, tfmot
from tfqkd.core.activations import ActivationQuantizer
from tfqkd.fronts.tfmot.ops import OPS
from tfqkd.fronts.tfmot.quantizers import add_learned

Draw = Callable[[tf.Variable], tuple[int, tf.Tensor]]
second_pass: ContextVar[Draw | None] = ContextVar("second_pass", default=None)
"""In a second pass of a network: from a learned scale to a width, and whether it is that this time."""


class OutputQuantizer(tfmot.quantization.keras.quantizers.Quantizer):
    """A quantizer of a layer's output, whose learned scale is a variable of the wrapped layer.

    Args:
        settings: What it quantizes by.
    """

    def __init__(self, settings: ActivationQuantizer) -> None:
        self.settings = settings

    def variable(self, weights: dict[str, tf.Variable]) -> tf.Variable:
        """Returns the learned scale among the variables that `build` made."""
        return weights[self.settings.variable]

    def build(
        self, tensor_shape: tf.TensorShape, name: str, layer: keras.layers.Layer
    ) -> dict[str, tf.Variable]:
        """Makes the learned scale as a variable of `layer`, a tfmot wrapper, and adds its loss.

        It starts as for a rectified (signed: plain) standard normal input;
        `calibration.calibrate_activations` starts it from data.
        """
        del tensor_shape
        first = np.asarray(self.settings.uncalibrated(), np.float32)
        scale = add_learned(layer, f"{name}_{self.settings.variable}", first)
        if self.settings.penalty(first) is not None:
            layer.add_loss(lambda: self.settings.penalty(tf.convert_to_tensor(scale)))
        return {self.settings.variable: scale}

    @tf.autograph.experimental.do_not_convert
    def __call__(
        self, inputs: tf.Tensor, training: bool, weights: dict[str, tf.Variable], **_: Any
    ) -> tf.Tensor:
        """Returns the quantized activations, in the dtype that they came in."""
        variable = self.variable(weights)
        scale = tf.convert_to_tensor(variable)
        values = tf.cast(inputs, tf.float32)
        quantized = self.settings.quantize(values, scale, OPS)
        draw = second_pass.get()
        if draw is not None:
            bits, is_raised = draw(variable)
            finer = self.settings.with_bits(bits, self.settings.signed)
            raised = finer.quantize(values, self.settings.scale_at(scale, bits), OPS)
            quantized = tf.where(is_raised, raised, quantized)
        return tf.cast(quantized, inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns nothing: `configs.LayerQuantizeConfig` saves the settings."""
        return {}
