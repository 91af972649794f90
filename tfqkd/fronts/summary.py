"""The rows of a summary, from the layers of a model of either Keras."""

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from tfqkd.core.summary import (
    FLOAT_BITS,
    FLOAT_BYTES,
    ActivationSummary,
    LayerSummary,
    QuantizationSummary,
    float_row,
    quantized_row,
)

_NO_KERNEL = "bias|gamma|beta|alpha|scale"
"""In the names of weights that may have several axes and are no kernels."""


@dataclasses.dataclass(frozen=True)
class LayerWeights:
    """The weights of a layer without those of its quantizers.

    Attributes:
        name: Of the layer.
        weights: Its variables.
        kernels: The quantized ones by the ids of their variables; each has a `quantizer`, `value()` and
            `scales()`.
        path: From a variable to its path within the layer, such as ["query", "kernel"].
    """

    name: str
    weights: list[Any]
    kernels: Mapping[int, Any]
    path: Callable[[Any], list[str]]


def summarized(
    layers: Iterable[LayerWeights],
    activations: Iterable[Any],
    array: Callable[[Any], np.ndarray],
    print_fn: Callable[[str], None] | None,
) -> QuantizationSummary:
    """Prints and returns the summary of a model.

    Args:
        layers: Its layers, in the model's order.
        activations: Its quantized activations.
        array: From a variable or tensor to its values.
        print_fn: Called with the table; None prints nothing.
    """
    rows: list[LayerSummary] = []
    total = 0
    for layer in layers:
        total += sum(FLOAT_BYTES * math.prod(weight.shape) for weight in layer.weights)
        kernels = [w for w in layer.weights if id(w) in layer.kernels or _is_kernel(w)]
        for name, weight in zip(_row_names(layer, kernels), kernels, strict=True):
            rows.append(_row(name, weight, layer.kernels.get(id(weight)), array))
    found = tuple(
        ActivationSummary(a.layer, a.quantizer.bits, a.code_range[0], a.code_range[1], a.step)
        for a in activations
    )
    summary = QuantizationSummary(tuple(rows), found, total - sum(row.float_bytes for row in rows))
    if print_fn:
        print_fn(str(summary))
    return summary


def _is_kernel(weight: Any) -> bool:
    """Whether the inputs are multiplied with it, or it is looked up: what the name says, or else the rank."""
    name = weight.name.split("/")[-1]
    if re.search("kernel|embedding", name):
        return True
    return weight.trainable and len(weight.shape) > 1 and not re.search(_NO_KERNEL, name)


def _row_names(layer: LayerWeights, kernels: list[Any]) -> list[str]:
    """The layer's name, with that of the kernel within it where it has several."""
    if len(kernels) == 1:
        return [layer.name]
    names: list[str] = []
    for kernel in kernels:
        name = ".".join([layer.name, *layer.path(kernel)])
        # A layer may give two of its weights one name.
        names.append(name if name not in names else f"{name}_{len(names)}")
    return names


def _row(name: str, weight: Any, kernel: Any, array: Callable[[Any], np.ndarray]) -> LayerSummary:
    if kernel is None:
        return float_row(name, array(weight))
    value, scales = array(kernel.value()), array(kernel.scales())
    if kernel.quantizer.bits == FLOAT_BITS:
        return float_row(name, value)
    return quantized_row(name, array(weight), value, scales, kernel.quantizer.bits)
