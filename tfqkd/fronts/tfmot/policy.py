"""Which layers of a tf_keras model are quantized, and to how many bits."""

from tfqkd.compat import keras, tf
from tfqkd.core import policy
from tfqkd.core.policy import FLOAT, Bits, LayerPolicy
from tfqkd.fronts.tfmot.kernels import kernels_of


def choose_bits(
    model: keras.Model, layers: LayerPolicy, default: Bits, others: Bits = FLOAT
) -> dict[str, Bits]:
    """Returns the bits of every layer that a policy quantizes (`core.policy.choose_bits`).

    Args:
        model: A Functional or Sequential model.
        layers: The policy.
        default: Bits of a layer that is selected without bits of its own.
        others: Bits of the layers that the policy leaves out.
    """
    with_kernels = [layer for layer in model.layers if kernels_of(layer)]
    outputs = [_sources(output) for output in model.outputs]
    return policy.choose_bits(with_kernels, outputs, layers, default, others)


def _sources(tensor: tf.Tensor) -> set[str]:
    """The names of the layers that a symbolic tensor comes from."""
    nodes, tensors = {}, [tensor]
    while tensors:
        layer, node_index, _ = tensors.pop()._keras_history
        node = layer.inbound_nodes[node_index]
        if id(node) not in nodes:
            nodes[id(node)] = layer.name
            tensors.extend(node.keras_inputs)
    return set(nodes.values())
