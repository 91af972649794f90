"""Reads a stripped Keras model as an integer graph: the operation of each layer."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfqkd.compat import keras, tf
from tfqkd.export.integer.builder import Builder
from tfqkd.export.integer.graph import Graph, Kind
from tfqkd.export.integer.kernels import Affine
from tfqkd.export.integer.tensors import Draft, Pixels, Value, unsupported
from tfqkd.fronts.tfmot.layers import ActivationQuantization

_layers = keras.layers


def read_graph(model: keras.Model) -> Graph:
    """Returns the integer graph of a model that `DeployScheme` has quantized, stripped.

    Args:
        model: A Functional or Sequential model from pixels [N, H, W, C] to outputs [N, classes].

    Raises:
        ExportError: If a tensor has no trained step, a layer no integer operation, or a kernel more than
            8 bits; it names the layer.
    """
    graph = Builder()
    values: dict[int, Value] = {}
    for _, nodes in sorted(model._nodes_by_depth.items(), reverse=True):
        for node in nodes:
            outputs = tf.nest.flatten(node.outputs)
            if isinstance(node.layer, _layers.InputLayer):
                shape = tuple(outputs[0].shape[1:])
                value: Value = Pixels("", shape, np.ones(shape[-1]), np.zeros(shape[-1]))
            else:
                value = _read(graph, node.layer, [values[id(each)] for each in node.keras_inputs])
            values[id(outputs[0])] = value
    return graph.graph(values[id(model.outputs[0])])


def _read(graph: Builder, layer: keras.layers.Layer, values: Sequence[Value]) -> Value:
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        raise unsupported(layer, "whose channels come first")
    for kinds, rule in _RULES:
        if isinstance(layer, kinds):
            return rule(graph, layer, values)
    raise unsupported(layer, f"a {type(layer).__name__}")


def _round(graph: Builder, layer: Any, values: Sequence[Value]) -> Value:
    return graph.rounded(layer, values[0])


def _pass(graph: Builder, layer: Any, values: Sequence[Value]) -> Value:
    del graph, layer
    return values[0]


def _standardize(graph: Builder, layer: Any, values: Sequence[Value]) -> Value:
    del graph
    mean = np.asarray(layer.mean, np.float64)
    std = np.maximum(np.sqrt(np.asarray(layer.variance, np.float64)), keras.backend.epsilon())
    gain, offset = (std, mean) if layer.invert else (1 / std, -mean / std)
    return _scaled(layer, values[0], gain, offset)


def _rescale(graph: Builder, layer: Any, values: Sequence[Value]) -> Value:
    del graph
    return _scaled(layer, values[0], layer.scale, layer.offset)


def _scaled(layer: keras.layers.Layer, value: Value, gain: Any, offset: Any) -> Value:
    if not isinstance(value, Pixels):
        raise unsupported(layer, "which scales other values than the image")
    return value.scaled(layer, gain, offset)


def _convolve(graph: Builder, layer: Any, values: Sequence[Value]) -> Value:
    if layer.groups != 1:
        raise unsupported(layer, f"with {layer.groups} groups")
    affine = Affine.of(layer.name, layer.kernel.numpy(), _bias(layer), 3, (3, 0, 1, 2))
    return _convolved(graph, layer, values, Kind.CONVOLUTION, affine)


def _convolve_channels(graph: Builder, layer: Any, values: Sequence[Value]) -> Value:
    kernel = layer.depthwise_kernel.numpy()
    kernel = kernel.reshape(1, *kernel.shape[:2], -1)
    affine = Affine.of(layer.name, kernel, _bias(layer), 3, (0, 1, 2, 3))
    return _convolved(graph, layer, values, Kind.DEPTHWISE, affine)


def _convolved(
    graph: Builder, layer: Any, values: Sequence[Value], kind: Kind, affine: Affine
) -> Value:
    draft = graph.drafted(
        layer,
        values,
        kind,
        affine,
        strides=tuple(layer.strides),
        dilation=tuple(layer.dilation_rate),
        padding=layer.padding,
    )
    return _activate(graph, layer, [draft])


def _multiply(graph: Builder, layer: Any, values: Sequence[Value]) -> Value:
    affine = Affine.of(layer.name, layer.kernel.numpy(), _bias(layer), 1, (1, 0))
    draft = graph.drafted(layer, values, Kind.DENSE, affine)
    if len(draft.shape) != 1:
        raise unsupported(layer, "which reads more than one row of features")
    return _activate(graph, layer, [draft])


def _bias(layer: Any) -> np.ndarray | None:
    return layer.bias.numpy() if layer.use_bias else None


def _normalize(graph: Builder, layer: Any, values: Sequence[Value]) -> Value:
    del graph
    (draft,) = values
    if not isinstance(draft, Draft) or draft.affine is None or not draft.is_bare:
        raise unsupported(
            layer, "which is not right behind a convolution or dense layer with a linear output"
        )
    if list(layer.axis) != [len(draft.shape)]:
        raise unsupported(layer, f"which normalizes along axis {list(layer.axis)}")
    gamma = layer.gamma.numpy().astype(np.float64) if layer.scale else np.float64(1)
    beta = layer.beta.numpy().astype(np.float64) if layer.center else np.float64(0)
    gain = gamma / np.sqrt(layer.moving_variance.numpy().astype(np.float64) + layer.epsilon)
    affine = draft.affine.scaled(gain, beta - layer.moving_mean.numpy() * gain)
    return dataclasses.replace(draft, affine=affine, layer=layer.name)


def _rectify(graph: Builder, layer: Any, values: Sequence[Value]) -> Value:
    del graph
    if layer.negative_slope or layer.threshold or layer.max_value not in (None, 6.0):
        raise unsupported(layer, "which is neither a plain ReLU nor a ReLU6")
    return _rectified(layer, values[0], layer.max_value)


def _activate(graph: Builder, layer: Any, values: Sequence[Value]) -> Value:
    """Does the activation of a layer that has one."""
    activation = layer.activation
    if isinstance(activation, _layers.ReLU):
        return _rectify(graph, activation, values)
    name = getattr(activation, "__name__", type(activation).__name__)
    if name == "linear":
        return values[0]
    if name not in ("relu", "relu6"):
        raise unsupported(layer, f"with the activation {name}")
    return _rectified(layer, values[0], 6.0 if name == "relu6" else None)


def _rectified(layer: keras.layers.Layer, value: Value, ceiling: float | None) -> Value:
    if not isinstance(value, Draft) or not value.is_bare:
        raise unsupported(
            layer, "a ReLU that is not right behind a convolution, dense layer or addition"
        )
    if ceiling is not None and value.operation.kind is Kind.MEAN:
        raise unsupported(layer, "a ReLU6 behind an average")
    return value.changed(layer, rectifies=True, ceiling=ceiling)


def _add(graph: Builder, layer: Any, values: Sequence[Value]) -> Value:
    if len(values) != 2:
        raise unsupported(layer, f"of {len(values)} inputs")
    draft = graph.drafted(layer, values, Kind.ADDITION)
    shapes = [graph.shape(index) for index in draft.operation.inputs]
    if shapes[0] != shapes[1]:
        raise unsupported(layer, f"of shapes {shapes[0]} and {shapes[1]}")
    return draft


def _average(graph: Builder, layer: Any, values: Sequence[Value]) -> Value:
    return graph.drafted(layer, values, Kind.MEAN)


def _average_windows(graph: Builder, layer: Any, values: Sequence[Value]) -> Value:
    """A depthwise convolution with equal weights: averaging has no operation that rounds to another step."""
    draft = graph.drafted(layer, values, Kind.DEPTHWISE, strides=tuple(layer.strides))
    height, width, channels = graph.shape(draft.operation.inputs[0])
    size = tuple(layer.pool_size)
    is_even = tuple(layer.strides) == size and height % size[0] == width % size[1] == 0
    if layer.padding != "valid" and not is_even:
        raise unsupported(layer, "which averages over padding")
    ones = np.ones((1, *size, channels), np.int64)
    share = np.full(channels, 1 / np.prod(size))
    affine = Affine(layer.name, ones, share, np.zeros(channels), 3)
    return dataclasses.replace(draft, affine=affine)


def _pool(graph: Builder, layer: Any, values: Sequence[Value]) -> Value:
    return graph.moved(
        layer,
        values[0],
        kind=Kind.MAXIMUM,
        window=tuple(layer.pool_size),
        strides=tuple(layer.strides),
        padding=layer.padding,
    )


def _pad(graph: Builder, layer: Any, values: Sequence[Value]) -> Value:
    margins = tuple(tuple(each) for each in layer.padding)
    return graph.moved(layer, values[0], kind=Kind.PADDING, margins=margins)


def _reshape(graph: Builder, layer: Any, values: Sequence[Value]) -> Value:
    return graph.moved(layer, values[0], kind=Kind.RESHAPE)


def _refuse(graph: Builder, layer: Any, values: Sequence[Value]) -> Value:
    del graph, values
    raise unsupported(layer, f"a {type(layer).__name__}")


_Rule = Callable[[Builder, Any, Sequence[Value]], Value]
_RULES: tuple[tuple[type | tuple[type, ...], _Rule], ...] = (
    (ActivationQuantization, _round),
    (_layers.Normalization, _standardize),
    (_layers.Rescaling, _rescale),
    # Each a Conv2D too.
    ((_layers.Conv2DTranspose, _layers.SeparableConv2D), _refuse),
    (_layers.DepthwiseConv2D, _convolve_channels),
    (_layers.Conv2D, _convolve),
    (_layers.Dense, _multiply),
    (_layers.BatchNormalization, _normalize),
    (_layers.ReLU, _rectify),
    (_layers.Activation, _activate),
    (_layers.Add, _add),
    (_layers.GlobalAveragePooling2D, _average),
    (_layers.AveragePooling2D, _average_windows),
    (_layers.MaxPooling2D, _pool),
    (_layers.ZeroPadding2D, _pad),
    ((_layers.Flatten, _layers.Reshape), _reshape),
    ((_layers.Dropout, _layers.SpatialDropout2D), _pass),
)
"""What is done with a layer; the first that fits."""
