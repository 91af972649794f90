"""Where activations of a tf_keras model are quantized."""

from collections.abc import Iterator, Mapping

from tfqkd.compat import keras, tf
from tfqkd.core import rounded_layers
from tfqkd.core.rounded_layers import ActivationBits, Wiring


def activation_layers(model: keras.Model, readers: Mapping[str, int]) -> dict[str, ActivationBits]:
    """Returns where to quantize activations so that the given layers read quantized ones, by layer name.

    Args:
        model: A Functional or built Sequential model that is part of no other one.
        readers: Names of layers, with the bits of the activations that they read.

    Raises:
        ValueError: If an activation is made by an operation that is no layer of its own.
    """
    return rounded_layers.activation_layers(_wiring(model), readers)


def integer_layers(model: keras.Model, bits: int) -> dict[str, ActivationBits]:
    """Returns where to quantize activations so that a file can compute with integers alone, by layer name.

    Args:
        model: As for `activation_layers`. Images are taken as pixels, 0 to 255.
        bits: Width of all codes.

    Raises:
        ValueError: As `activation_layers` does.
    """
    return rounded_layers.integer_layers(_wiring(model), bits)


def _wiring(model: keras.Model) -> Wiring:
    layers = {layer.name: layer for layer in model.layers}
    own = set(map(id, model.layers))
    last = [tensor._keras_history.layer for tensor in model.outputs]

    def before(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
        for node in layer.inbound_nodes:
            # A layer may have been part of another model, such as an annotated one.
            yield from (each for each in tf.nest.flatten(node.inbound_layers) if id(each) in own)

    return Wiring(layers, before, last, "tf.nn.relu")
