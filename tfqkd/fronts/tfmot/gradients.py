"""Rounded gradients as a tfmot object, put on the output of a layer."""

import zlib
from typing import Any

from tfqkd.compat import keras, tf, tfmot
from tfqkd.core.dorefa import rounded_gradient
from tfqkd.fronts.tfmot.activations import OutputQuantizer
from tfqkd.fronts.tfmot.ops import OPS
from tfqkd.fronts.tfmot.quantizers import add_followed

_COUNTER = "gradient_counter"


def round_gradient(values: tf.Tensor, bits: int, seed: Any) -> tf.Tensor:
    """Returns `values` as they are; their gradient is rounded stochastically (`dorefa.rounded_gradient`).

    Args:
        values: The output of a layer, [N, ...], float.
        bits: 2 to 8.
        seed: Two integers that decide the noise; another pair at every step.
    """

    @tf.custom_gradient
    def identity(x: tf.Tensor) -> tuple:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            noise = tf.random.stateless_uniform(tf.shape(upstream), seed, -0.5, 0.5)
            return rounded_gradient(upstream, noise, bits, OPS)

        return tf.identity(x), gradient

    return identity(values)


class GradientRounding(tfmot.quantization.keras.quantizers.Quantizer):
    """Rounds the gradient of a layer's output stochastically, as DoReFa-Net does (`round_gradient`).

    The noise is a function of the layer's name, the replica and a counter of training steps, which is in a
    checkpoint: a training that is resumed goes on with the noise that it would have seen.

    Args:
        bits: Of the gradient, 2 to 8.
        activation: The quantizer of the output itself, if it has one.
    """

    def __init__(self, bits: int, activation: OutputQuantizer | None = None) -> None:
        self.bits = bits
        self.activation = activation

    def build(
        self, tensor_shape: tf.TensorShape, name: str, layer: keras.layers.Layer
    ) -> dict[str, tf.Variable]:
        """Makes the counter, from a random start, and the variables of the activation quantizer."""
        weights = self.activation.build(tensor_shape, name, layer) if self.activation else {}
        first = tf.floor(tf.random.uniform([], 0, 2.0**20))
        weights[_COUNTER] = add_followed(layer, f"{name}_{_COUNTER}", first)
        self._layer = zlib.crc32(layer.name.encode()) & 0x3FFFFFFF
        return weights

    @tf.autograph.experimental.do_not_convert
    def __call__(
        self, inputs: tf.Tensor, training: bool, weights: dict[str, tf.Variable], **kwargs: Any
    ) -> tf.Tensor:
        """Returns the inputs, quantized if there is a quantizer for them."""
        outputs = inputs
        if training:
            counter = weights[_COUNTER]
            count = tf.cast(tf.convert_to_tensor(counter), tf.int32)
            counter.assign_add(1.0)
            context = tf.distribute.get_replica_context()
            replica = context.replica_id_in_sync_group if context else 0
            outputs = round_gradient(inputs, self.bits, [self._layer + replica, count])
        if self.activation is None:
            return outputs
        return self.activation(outputs, training, weights, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Returns nothing: `configs.LayerQuantizeConfig` saves the settings."""
        return {}
