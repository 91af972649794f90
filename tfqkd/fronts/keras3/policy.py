"""Which layers of a Keras 3 model are quantized, and to how many bits."""

from typing import Any

import keras

from tfqkd.core import policy
from tfqkd.core.policy import FLOAT, Bits, LayerPolicy
from tfqkd.fronts.keras3.cloning import is_graph, leaves
from tfqkd.fronts.keras3.kernels import kernels_of


def choose_bits(
    model: keras.Model, layers: LayerPolicy, default: Bits, others: Bits = FLOAT
) -> dict[str, Bits]:
    """Returns the bits of every layer that the policy quantizes, by name, in the model's order.

    Args:
        model: A Functional or Sequential model; layers of models within it are called "<model>/<layer>".
        layers: As for `tfqkd.core.policy.choose_bits`.
        default: Bits of a layer that is selected without bits of its own.
        others: Bits of the layers that the policy leaves out.

    Raises:
        ValueError: As that function does.
    """
    found: list[Any] = [_Named(layer, name) for name, layer in leaves(model) if kernels_of(layer)]
    return policy.choose_bits(
        found, [sources(model, each) for each in model.outputs], layers, default, others
    )


def sources(model: keras.Model, output: Any) -> set[str]:
    """Returns the names of the layers that an output of a model comes from.

    Args:
        model: A Functional or Sequential model.
        output: One of its outputs, or of the inputs of its layers.
    """
    names = {id(layer): name for name, layer in leaves(model)}
    if isinstance(model, keras.Sequential):
        return set(names.values())
    found: set[int] = set()
    tensors, nodes = [output], set()
    while tensors:
        node = node_of(tensors.pop())
        if node is None or id(node) in nodes:
            continue
        nodes.add(id(node))
        tensors.extend(node.input_tensors)
        inside = leaves(node.operation) if is_graph(node.operation) else [("", node.operation)]
        found.update(id(layer) for _, layer in inside)
    return {name for key, name in names.items() if key in found}


def node_of(tensor: Any) -> Any:
    """Returns the call of a layer or operation that made a symbolic tensor; None where there is none."""
    history = getattr(tensor, "_keras_history", None)
    return history.operation._inbound_nodes[history.node_index] if history else None


class _Named:
    """A layer under the name that it has in the whole model."""

    def __init__(self, layer: keras.layers.Layer, name: str) -> None:
        self._layer = layer
        self.name = name

    def __getattribute__(self, name: str) -> Any:
        if name in ("name", "_layer"):
            return object.__getattribute__(self, name)
        # Its class too, for `isinstance`.
        return getattr(self._layer, name)
