"""What each layer of a Keras 3 model reads."""

from collections.abc import Iterator
from typing import Any

import keras

from tfqkd.core.rounded_layers import Wiring
from tfqkd.fronts.keras3.cloning import is_graph, leaves
from tfqkd.fronts.keras3.policy import node_of


def wiring(model: keras.Model) -> Wiring:
    """Returns the layers of a model and what comes before each; models within it have no bounds.

    Args:
        model: A Functional or built Sequential model.
    """
    reads = _Reads(model)
    last = [each for tensor in model.outputs for each in reads.makers(tensor)]
    return Wiring(dict(leaves(model)), reads.before, last, "keras.ops.relu")


class _Reads:
    """What each layer and operation of a model reads, through the bounds of the models within it."""

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._read: dict[int, list[Any]] = {}
        self._owner: dict[int, keras.Model] = {}
        self._add(model)

    def before(self, operation: Any) -> Iterator[Any]:
        """Yields the layers and operations that make what one reads; the model's own input among them."""
        for tensor in self._read.get(id(operation), []):
            yield from self.makers(tensor)

    def _add(self, graph: keras.Model) -> None:
        tensors, nodes = list(graph.outputs), set()
        while tensors:
            node = node_of(tensors.pop())
            if id(node) in nodes:
                continue
            nodes.add(id(node))
            operation = node.operation
            if isinstance(operation, keras.layers.InputLayer):
                self._owner[id(operation)] = graph
            if id(operation) not in self._read and is_graph(operation):
                self._add(operation)
            self._read.setdefault(id(operation), []).extend(node.input_tensors)
            tensors.extend(node.input_tensors)

    def makers(self, tensor: Any) -> Iterator[Any]:
        """Yields the layers and operations that make a tensor, from within the models within the model."""
        history = tensor._keras_history
        operation = history.operation
        if is_graph(operation):
            yield from self.makers(operation.outputs[history.tensor_index])
        elif (
            not isinstance(operation, keras.layers.InputLayer)
            or self._owner[id(operation)] is self._model
        ):
            yield operation
        else:
            # The index among the inputs of a model within the model; its calls give what is there.
            graph = self._owner[id(operation)]
            index = [each is tensor for each in graph.inputs].index(True)
            for given in self._read[id(graph)][index :: len(graph.inputs)]:
                yield from self.makers(given)
