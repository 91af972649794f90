"""Where activations are quantized: behind which layers, and whether their outputs can be negative."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from tfqkd.fronts.keras3.cloning import is_graph, leaves
from tfqkd.fronts.keras3.policy import node_of

_layers = keras.layers

_RECTIFIED = {"relu", "relu6", "sigmoid", "hard_sigmoid", "softmax", "softplus", "exponential"}

_MOVES_VALUES: tuple[type, ...] = (
    _layers.Flatten,
    _layers.Reshape,
    _layers.Permute,
    _layers.RepeatVector,
    _layers.MaxPooling1D,
    _layers.MaxPooling2D,
    _layers.MaxPooling3D,
    _layers.GlobalMaxPooling1D,
    _layers.GlobalMaxPooling2D,
    _layers.GlobalMaxPooling3D,
    _layers.ZeroPadding1D,
    _layers.ZeroPadding2D,
    _layers.ZeroPadding3D,
    _layers.Cropping1D,
    _layers.Cropping2D,
    _layers.Cropping3D,
)
"""Layers that give out values which they got, or zero: quantizing before them is quantizing behind them."""

_KEEPS_SIGN: tuple[type, ...] = (
    *_MOVES_VALUES,
    _layers.AveragePooling1D,
    _layers.AveragePooling2D,
    _layers.AveragePooling3D,
    _layers.GlobalAveragePooling1D,
    _layers.GlobalAveragePooling2D,
    _layers.GlobalAveragePooling3D,
    _layers.UpSampling1D,
    _layers.UpSampling2D,
    _layers.UpSampling3D,
    _layers.Dropout,
    _layers.SpatialDropout1D,
    _layers.SpatialDropout2D,
    _layers.SpatialDropout3D,
    _layers.Add,
    _layers.Average,
    _layers.Maximum,
    _layers.Multiply,
    _layers.Concatenate,
)

_OVERSHOOTS = {"bicubic", "lanczos3", "lanczos5", "mitchellcubic"}
"""Interpolations with negative weights: between values that are not negative they can be."""


@dataclasses.dataclass(frozen=True)
class Site:
    """A layer whose output is quantized.

    Attributes:
        bits: Width of a code.
        signed: Whether the output can be negative.
    """

    bits: int
    signed: bool


def activation_sites(model: keras.Model, readers: Mapping[str, int]) -> dict[str, Site]:
    """Returns where to quantize activations so that the given layers read quantized ones, by layer name.

    That is behind the layer which makes them: the ReLU, or the layer that a ReLU is fused into. Layers that
    only move values (flatten, max pooling, padding) are passed through, and so is where a model within the
    model begins or ends. An output that several layers read gets the largest of their widths. The input of
    the model itself stays as it comes.

    Args:
        model: A Functional or built Sequential model.
        readers: Names of layers, with the bits of the activations that they read.

    Raises:
        ValueError: If an activation is made by an operation that is no layer of its own.
    """
    wiring = _Wiring(model)
    names = {id(layer): name for name, layer in leaves(model)}
    layers = dict(leaves(model))
    bits: dict[str, int] = {}
    for reader, width in readers.items():
        for source in _sources(layers[reader], wiring):
            if id(source) not in names:
                raise ValueError(
                    "An activation must be made by a Keras layer to be quantized. Received: the input of "
                    f"'{reader}' from the operation '{source.name}'. Use a layer instead, e.g. "
                    "keras.layers.ReLU() for keras.ops.relu and keras.layers.Add() for +, or leave the "
                    "activations of this layer float."
                )
            name = names[id(source)]
            bits[name] = max(width, bits.get(name, 0))
    return {name: Site(bits[name], not _is_rectified(layers[name], wiring)) for name in bits}


class _Wiring:
    """What each layer and operation of a model reads, through the bounds of the models within it."""

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._read: dict[int, list[Any]] = {}
        self._owner: dict[int, keras.Model] = {}
        self._add(model)

    def before(self, operation: Any) -> Iterator[Any]:
        """Yields the layers and operations that make what one reads; nothing for the model's own input."""
        for tensor in self._read.get(id(operation), []):
            yield from self._makers(tensor)

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

    def _makers(self, tensor: Any) -> Iterator[Any]:
        history = tensor._keras_history
        operation = history.operation
        if is_graph(operation):
            yield from self._makers(operation.outputs[history.tensor_index])
        elif not isinstance(operation, keras.layers.InputLayer):
            yield operation
        elif self._owner[id(operation)] is not self._model:
            # The place among the inputs of a model within the model; its calls give what is there.
            graph = self._owner[id(operation)]
            place = [each is tensor for each in graph.inputs].index(True)
            for given in self._read[id(graph)][place :: len(graph.inputs)]:
                yield from self._makers(given)


def _sources(operation: Any, wiring: _Wiring) -> Iterator[Any]:
    for before in wiring.before(operation):
        if isinstance(before, _MOVES_VALUES):
            yield from _sources(before, wiring)
        else:
            yield before


def _is_rectified(layer: Any, wiring: _Wiring) -> bool:
    if getattr(layer, "interpolation", None) in _OVERSHOOTS:
        return False
    if isinstance(layer, _KEEPS_SIGN):
        before = list(wiring.before(layer))
        return bool(before) and all(_is_rectified(each, wiring) for each in before)
    if isinstance(layer, _layers.ReLU):
        return not layer.negative_slope
    if isinstance(layer, _layers.Softmax):
        return True
    activation = getattr(layer, "activation", None)
    if isinstance(activation, _layers.Layer):
        return _is_rectified(activation, wiring)
    return getattr(activation, "__name__", None) in _RECTIFIED
