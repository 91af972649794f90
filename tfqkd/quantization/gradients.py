"""Rounded gradients as a tfmot object, put on the output of a layer."""

import zlib
from typing import Any

from tfqkd.compat import keras, tf, tfmot
from tfqkd.quantization import arithmetic, dorefa
from tfqkd.quantization.activations import ActivationQuantizer
from tfqkd.quantization.quantizers import add_followed

_COUNTER = "gradient_counter"


@keras.utils.register_keras_serializable(package="tfqkd")
class GradientRounding(tfmot.quantization.keras.quantizers.Quantizer):
    """Rounds the gradient of a layer's output stochastically, as DoReFa-Net does (`dorefa.round_gradient`).

    The noise is a function of the layer's name, the replica and a counter of training steps, which lies in a
    checkpoint: a training that is resumed goes on with the noise that it would have seen.

    Args:
        bits: Of the gradient, 2 to 8.
        activation: The quantizer of the output itself, if it has one.

    Raises:
        ValueError: If `bits` is none of these.
    """

    def __init__(self, bits: int, activation: ActivationQuantizer | None = None) -> None:
        arithmetic.largest_code(bits)
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
            outputs = dorefa.round_gradient(inputs, self.bits, [self._layer + replica, count])
        if self.activation is None:
            return outputs
        return self.activation(outputs, training, weights, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        activation = self.activation and keras.utils.legacy.serialize_keras_object(self.activation)
        return {"bits": self.bits, "activation": activation}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "GradientRounding":
        """Rebuilds the object."""
        activation = config["activation"]
        if activation is not None:
            activation = keras.utils.legacy.deserialize_keras_object(activation)
        return cls(config["bits"], activation)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GradientRounding) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash((GradientRounding, self.bits, self.activation))
