"""What quantization did to each layer of a Keras 3 model, as a table."""

import math
import re
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfqkd.core.summary import (
    FLOAT_BYTES,
    ActivationSummary,
    LayerSummary,
    QuantizationSummary,
    float_row,
    quantized_row,
)
from tfqkd.fronts.keras3.cloning import leaves
from tfqkd.fronts.keras3.held import HeldKernel
from tfqkd.fronts.keras3.model import as_graph, plain_layer, quantized_activations
from tfqkd.fronts.keras3.wrapper import QuantizedLayer

_NO_KERNEL = "bias|gamma|beta|alpha|scale"
"""In the names of weights that may have several axes and are no kernels."""


def quantization_summary(
    model: keras.Model, print_fn: Callable[[str], None] | None = print
) -> QuantizationSummary:
    """Prints and returns a table of the model's layers: bits, step, zeros, error and bytes.

    Args:
        model: A float or quantized model.
        print_fn: Called with the table; None prints nothing.
    """
    rows: list[LayerSummary] = []
    total = 0
    for name, layer in leaves(as_graph(model)):
        held = {id(h.kernel.variable): h for h in _held(layer)}
        weights = plain_layer(layer).weights
        total += sum(FLOAT_BYTES * math.prod(weight.shape) for weight in weights)
        kernels = [weight for weight in weights if id(weight) in held or _is_kernel(weight)]
        for row_name, kernel in zip(_row_names(name, kernels), kernels, strict=True):
            rows.append(_row(row_name, kernel, held.get(id(kernel))))
    activations = tuple(
        ActivationSummary(a.layer, a.quantizer.bits, *a.code_range, a.step)
        for a in quantized_activations(model)
    )
    other = total - sum(row.float_bytes for row in rows)
    summary = QuantizationSummary(tuple(rows), activations, other)
    if print_fn:
        print_fn(str(summary))
    return summary


def _held(layer: keras.layers.Layer) -> list[HeldKernel]:
    return layer.quantized if isinstance(layer, QuantizedLayer) else []


def _is_kernel(weight: keras.Variable) -> bool:
    """Whether the inputs are multiplied with it, or it is looked up: what the name says, or else the rank."""
    if re.search("kernel|embedding", weight.name):
        return True
    return weight.trainable and len(weight.shape) > 1 and not re.search(_NO_KERNEL, weight.name)


def _row_names(layer: str, kernels: list[keras.Variable]) -> list[str]:
    """The layer's name, with that of the kernel within it where it has several."""
    if len(kernels) == 1:
        return [layer]
    names: list[str] = []
    for kernel in kernels:
        inside = f"/{kernel.path}".rpartition(f"/{layer.rpartition('/')[2]}/")[2]
        name = ".".join([layer, *inside.strip("/").split("/")])
        # A layer may give two of its weights one name.
        names.append(name if name not in names else f"{name}_{len(names)}")
    return names


def _row(name: str, kernel: keras.Variable, held: HeldKernel | None) -> LayerSummary:
    if held is None:
        return float_row(name, _array(kernel.value))
    latent, value, scales = (_array(v) for v in (kernel.value, held.value(), held.scales()))
    return quantized_row(name, latent, value, scales, held.quantizer.bits)


def _array(value: Any) -> np.ndarray:
    return keras.ops.convert_to_numpy(value).astype(np.float32)
