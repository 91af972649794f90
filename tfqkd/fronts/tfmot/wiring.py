"""What each layer of a tf_keras model reads."""

from collections.abc import Iterator

from tfqkd.compat import keras, tf
from tfqkd.core.rounded_layers import Wiring


def wiring(model: keras.Model) -> Wiring:
    """Returns the layers of a model and what comes before each.

    Args:
        model: A Functional or built Sequential model that is part of no other one.
    """
    layers = {layer.name: layer for layer in model.layers}
    own = set(map(id, model.layers))
    last = [tensor._keras_history.layer for tensor in model.outputs]

    def before(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
        for node in layer.inbound_nodes:
            # A layer may have been part of another model, such as an annotated one.
            yield from (each for each in tf.nest.flatten(node.inbound_layers) if id(each) in own)

    return Wiring(layers, before, last, "tf.nn.relu")
