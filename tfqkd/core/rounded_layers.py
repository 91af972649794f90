"""Where activations are quantized: behind which layers, and whether their outputs can be negative.

Layers are known by the names of their classes, which both Kerases share.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tfqkd.core.activations import ActivationQuantizer
from tfqkd.core.policy import Bits
from tfqkd.core.quantizer import WeightQuantizer
from tfqkd.core.schemes import Scheme

Before = Callable[[Any], Iterable[Any]]
"""From a layer to the layers and operations that make what it reads, the input of the model among them."""

_RECTIFIED = {"relu", "relu6", "sigmoid", "hard_sigmoid", "softmax", "softplus", "exponential"}

_MOVES_VALUES = {
    "Flatten",
    "Reshape",
    "Permute",
    "RepeatVector",
    *(
        f"{kind}{rank}D"
        for kind in ("MaxPooling", "GlobalMaxPooling", "ZeroPadding", "Cropping")
        for rank in (1, 2, 3)
    ),
}
"""Layers that give out values which they got, or zero: quantizing before them is quantizing behind them."""

_KEEPS_SIGN = {
    *_MOVES_VALUES,
    "Dropout",
    "Add",
    "Average",
    "Maximum",
    "Multiply",
    "Concatenate",
    *(
        f"{kind}{rank}D"
        for kind in ("AveragePooling", "GlobalAveragePooling", "UpSampling", "SpatialDropout")
        for rank in (1, 2, 3)
    ),
}

_COMPUTES_ALONG = {
    *_MOVES_VALUES,
    "InputLayer",
    "Normalization",
    "Rescaling",
    "BatchNormalization",
    "Activation",
    "ReLU",
    "LeakyReLU",
    "ELU",
    "Softmax",
    "Dropout",
    *(f"SpatialDropout{rank}D" for rank in (1, 2, 3)),
}
"""Layers that an integer operation does along with what is before them, or that move its codes."""

_OPERATIONS = {"TFOpLambda", "SlicingOpLambda"}
"""What tf_keras makes layers of that are none."""

_OVERSHOOTS = {"bicubic", "lanczos3", "lanczos5", "mitchellcubic"}
"""Interpolations with negative weights: between values that are not negative they can be."""


@dataclasses.dataclass(frozen=True)
class ActivationBits:
    """A layer whose output is quantized.

    Attributes:
        bits: Width of a code.
        signed: Whether the output can be negative.
    """

    bits: int
    signed: bool


@dataclasses.dataclass(frozen=True)
class Wiring:
    """The layers of a model, and how they read each other.

    Attributes:
        layers: By name, in the model's order; operations that are no layers of their own may be missing.
        before: What comes before a layer.
        last: The layers that make the outputs.
        relu: The front's function of which an error says that a ReLU layer replaces it.
    """

    layers: Mapping[str, Any]
    before: Before
    last: Sequence[Any]
    relu: str

    def name_of(self, source: Any, reader: str) -> str:
        """Returns the name of a layer that makes an activation.

        Raises:
            ValueError: If it is an operation that is no layer of its own.
        """
        for name, layer in self.layers.items():
            if layer is source and not _is(source, _OPERATIONS):
                return name
        raise ValueError(
            "An activation must be made by a Keras layer to be quantized. Received: the input of "
            f"'{reader}' from the operation '{source.name}'. Use a layer instead, e.g. "
            f"keras.layers.ReLU() for {self.relu} and keras.layers.Add() for +, or leave the "
            "activations of this layer float."
        )


def layer_quantizers(
    scheme: Scheme, bits: Mapping[str, Bits], wired: Callable[[], Wiring]
) -> dict[str, tuple[WeightQuantizer | None, ActivationQuantizer | None]]:
    """Returns the quantizers of kernels and output of each layer that has any of them.

    Args:
        scheme: What a quantized layer gets.
        bits: Bits of the layers that are to be quantized. The output of a layer that one of them reads is
            quantized too.
        wired: Returns the wiring of the model, if it is needed.

    Raises:
        ValueError: As `activation_layers` does.
    """
    rounded: dict[str, ActivationBits] = {}
    if scheme.activations is not None and scheme.is_integer:
        rounded = integer_layers(wired(), scheme.activations.bits)
    elif scheme.activations is not None:
        readers = {name: b.activations for name, b in bits.items() if b.activations is not None}
        rounded = activation_layers(wired(), readers)
    weights = {name: b.weights for name, b in bits.items() if b.weights is not None}
    found = {}
    for name in {**weights, **rounded}:
        kernels = scheme.quantizer_of(weights[name]) if name in weights else None
        output = None
        if name in rounded and scheme.activations is not None:
            output = scheme.activations.with_bits(rounded[name].bits, rounded[name].signed)
        found[name] = (kernels, output)
    return found


def activation_layers(wiring: Wiring, readers: Mapping[str, int]) -> dict[str, ActivationBits]:
    """Returns where to quantize activations so that the given layers read quantized ones, by layer name.

    That is behind the layer which makes them: the ReLU, or the layer that a ReLU is fused into. Layers that
    only move values (flatten, max pooling, padding) are passed through. An output that several layers read
    gets the largest of their widths. The input of the model itself stays as it comes.

    Args:
        wiring: Of the model.
        readers: Names of layers, with the bits of the activations that they read.

    Raises:
        ValueError: If an activation is made by an operation that is no layer of its own.
    """
    bits: dict[str, int] = {}
    for reader, width in readers.items():
        for source in _sources(wiring.layers[reader], wiring.before):
            if not _is(source, {"InputLayer"}):
                name = wiring.name_of(source, reader)
                bits[name] = max(width, bits.get(name, 0))
    return {
        name: _activation_bits(wiring.layers[name], width, wiring) for name, width in bits.items()
    }


def integer_layers(wiring: Wiring, bits: int) -> dict[str, ActivationBits]:
    """Returns where to quantize activations so that a file can compute with integers alone, by layer name.

    These are the inputs of every layer that starts an integer operation (kernels, additions, pooling), also
    the standardized image, and the outputs of the model.

    Args:
        wiring: Of the model. Images are taken as pixels, 0 to 255.
        bits: Width of all codes.

    Raises:
        ValueError: As `activation_layers` does.
    """
    readers = [name for name, layer in wiring.layers.items() if not _is(layer, _COMPUTES_ALONG)]
    rounded = activation_layers(wiring, dict.fromkeys(readers, bits))
    for last in wiring.last:
        for source in _sources(last, wiring.before) if _is(last, _MOVES_VALUES) else [last]:
            rounded[wiring.name_of(source, last.name)] = _activation_bits(source, bits, wiring)
    for name, activation in rounded.items():
        if _is_positive_image(wiring.layers[name], wiring.before):
            rounded[name] = dataclasses.replace(activation, signed=False)
    return rounded


def _activation_bits(layer: Any, bits: int, wiring: Wiring) -> ActivationBits:
    return ActivationBits(bits, not _is_rectified(layer, wiring.before))


def _is_positive_image(layer: Any, before: Before) -> bool:
    """Whether a layer rescales pixels to values that are not negative."""
    return (
        _is(layer, {"Rescaling"})
        and all(_is(each, {"InputLayer"}) for each in before(layer))
        and min(np.min(layer.offset), np.min(layer.offset + 255.0 * np.asarray(layer.scale))) >= 0
    )


def _sources(layer: Any, before: Before) -> Iterator[Any]:
    for each in before(layer):
        if _is(each, _MOVES_VALUES):
            yield from _sources(each, before)
        else:
            yield each


def _is_rectified(layer: Any, before: Before) -> bool:
    if getattr(layer, "interpolation", None) in _OVERSHOOTS:
        return False
    if _is(layer, _KEEPS_SIGN):
        return all(_is_rectified(each, before) for each in before(layer))
    if _is(layer, {"ReLU"}):
        return not layer.negative_slope
    if _is(layer, {"Softmax"}):
        return True
    activation = getattr(layer, "activation", None)
    if _is(activation, {"Layer"}):
        return _is_rectified(activation, before)
    return getattr(activation, "__name__", None) in _RECTIFIED


def _is(layer: Any, names: set[str]) -> bool:
    """Whether a layer is of one of these classes of Keras, or of a class made from one."""
    return any(
        cls.__name__ in names and cls.__module__.partition(".")[0] in ("keras", "tf_keras")
        for cls in type(layer).__mro__
    )


def require_no_fixed_steps(roundings: Sequence[str], activation_bits: int | None) -> None:
    """Raises ValueError if the fixed roundings of a stripped model would stay in one that trains.

    Args:
        roundings: Names of the layers that round activations by fixed steps; their gradient is zero.
        activation_bits: Of what is quantized in their place; None for float.
    """
    if roundings and activation_bits is None:
        raise ValueError(
            "A model that trains must not round activations by fixed steps: nothing before them would "
            f"learn. Received: layer '{roundings[0]}' of a stripped model, and activations that stay float. "
            "Quantize activations too (DeployScheme() or Scheme(..., LsqActivationQuantizer(8)); in a "
            "recipe --quantize.deploy or --quantize.activation_bits), which trains steps in their place."
        )
