"""Where activations are quantized: behind which layers, and whether their outputs can be negative."""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from tfqkd.compat import keras

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


_COMPUTES_ALONG: tuple[type, ...] = (
    *_MOVES_VALUES,
    _layers.InputLayer,
    _layers.Normalization,
    _layers.Rescaling,
    _layers.BatchNormalization,
    _layers.Activation,
    _layers.ReLU,
    _layers.LeakyReLU,
    _layers.ELU,
    _layers.Softmax,
    _layers.Dropout,
    _layers.SpatialDropout1D,
    _layers.SpatialDropout2D,
    _layers.SpatialDropout3D,
)
"""Layers that an integer operation does along with what is before them, or that move its codes."""


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
    only move values (flatten, max pooling, padding) are passed through. An output that several layers read
    gets the largest of their widths. The input of the model itself stays as it comes.

    Args:
        model: A Functional or built Sequential model that is part of no other one.
        readers: Names of layers, with the bits of the activations that they read.

    Raises:
        ValueError: If an activation is made by an operation that is no layer of its own.
    """
    bits: dict[str, int] = {}
    sources: dict[str, keras.layers.Layer] = {}
    for name, width in readers.items():
        for source in _sources(model.get_layer(name)):
            if isinstance(source, _layers.InputLayer):
                continue
            _require_layer(source, name)
            sources[source.name] = source
            bits[source.name] = max(width, bits.get(source.name, 0))
    return {name: Site(bits[name], not _is_rectified(sources[name])) for name in bits}


def integer_sites(model: keras.Model, bits: int) -> dict[str, Site]:
    """Returns where to quantize activations so that a file can compute with integers alone, by layer name.

    That is what every layer reads that an integer operation begins with (kernels, additions, pooling), the
    standardized image among it, and the outputs of the model.

    Args:
        model: As for `activation_sites`. Images are taken as pixels, 0 to 255.
        bits: Width of all codes.

    Raises:
        ValueError: As `activation_sites` does.
    """
    readers = [layer.name for layer in model.layers if not isinstance(layer, _COMPUTES_ALONG)]
    sites = activation_sites(model, dict.fromkeys(readers, bits))
    for tensor in model.outputs:
        last = tensor._keras_history.layer
        for source in _sources(last) if isinstance(last, _MOVES_VALUES) else [last]:
            _require_layer(source, last.name)
            sites[source.name] = Site(bits, not _is_rectified(source))
    for name, site in sites.items():
        if _is_positive_image(model.get_layer(name)):
            sites[name] = dataclasses.replace(site, signed=False)
    return sites


def _is_positive_image(layer: keras.layers.Layer) -> bool:
    """Whether a layer rescales pixels to values that are not negative."""
    return (
        isinstance(layer, _layers.Rescaling)
        and all(isinstance(before, _layers.InputLayer) for before in _before(layer))
        and min(np.min(layer.offset), np.min(layer.offset + 255.0 * np.asarray(layer.scale))) >= 0
    )


def _before(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    for node in layer.inbound_nodes:
        inbound = node.inbound_layers
        yield from inbound if isinstance(inbound, list) else [inbound]


def _sources(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    for before in _before(layer):
        if isinstance(before, _MOVES_VALUES):
            yield from _sources(before)
        else:
            yield before


def _is_rectified(layer: keras.layers.Layer) -> bool:
    if getattr(layer, "interpolation", None) in _OVERSHOOTS:
        return False
    if isinstance(layer, _KEEPS_SIGN):
        return all(_is_rectified(before) for before in _before(layer))
    if isinstance(layer, _layers.ReLU):
        return not layer.negative_slope
    if isinstance(layer, _layers.Softmax):
        return True
    activation = getattr(layer, "activation", None)
    if isinstance(activation, _layers.Layer):
        return _is_rectified(activation)
    return getattr(activation, "__name__", None) in _RECTIFIED


def _require_layer(source: keras.layers.Layer, reader: str) -> None:
    if type(source).__name__ in ("TFOpLambda", "SlicingOpLambda"):
        raise ValueError(
            "An activation must be made by a Keras layer to be quantized. "
            f"Received: the input of '{reader}' from the operation '{source.name}'. Use a layer instead, "
            "e.g. keras.layers.ReLU() for tf.nn.relu and keras.layers.Add() for +, or leave the "
            "activations of this layer float."
        )
