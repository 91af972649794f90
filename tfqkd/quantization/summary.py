"""What quantization did to each layer, as a table."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from tfqkd.compat import keras
from tfqkd.quantization.kernels import kernel_of, require_kernel
from tfqkd.quantization.model import QuantizedKernel, plain_layer, quantized_kernels
from tfqkd.reporting.tables import Table

FLOAT_BITS, FLOAT_BYTES = 32, 4


@dataclasses.dataclass(frozen=True)
class LayerSummary:
    """One layer's kernel.

    Attributes:
        layer: Its name.
        shape: Of the kernel.
        bits: Of a weight; 32 for float.
        step: Mean step Δ over the tensor or its channels; None for float.
        zeros: Share of weights that are zero, 0 to 1.
        error: Relative L2 error of quantization, ‖w − Q(w)‖ / ‖w‖.
        float_bytes: Size in float32.
        packed_bytes: Size with `bits` bits a weight and a float32 a step.
    """

    layer: str
    shape: tuple[int, ...]
    bits: int
    step: float | None
    zeros: float
    error: float
    float_bytes: int
    packed_bytes: int


@dataclasses.dataclass(frozen=True)
class QuantizationSummary:
    """The layers of a model, and what else it holds.

    Attributes:
        layers: A row for each layer with a kernel, in the model's order.
        other_bytes: Size of biases, batch norm and all that is never quantized, float32.
    """

    layers: tuple[LayerSummary, ...]
    other_bytes: int

    @property
    def float_bytes(self) -> int:
        """Size of the whole model in float32."""
        return sum(layer.float_bytes for layer in self.layers) + self.other_bytes

    @property
    def packed_bytes(self) -> int:
        """Size of the whole model with packed codes."""
        return sum(layer.packed_bytes for layer in self.layers) + self.other_bytes

    def __str__(self) -> str:
        table = Table("layer", "shape", "bits", "step", "zeros %", "error %", "float B", "packed B")
        for row in self.layers:
            quantized = row.step is not None
            table.add(
                row.layer,
                "×".join(map(str, row.shape)),
                row.bits if quantized else "float",
                f"{row.step:.4g}" if quantized else "",
                f"{100 * row.zeros:.1f}",
                f"{100 * row.error:.1f}" if quantized else "",
                f"{row.float_bytes:,}",
                f"{row.packed_bytes:,}",
            )
        table.add("biases, batch norm", *[""] * 5, f"{self.other_bytes:,}", f"{self.other_bytes:,}")
        table.add("total", *[""] * 5, f"{self.float_bytes:,}", f"{self.packed_bytes:,}")
        float_layers = [row.layer for row in self.layers if row.step is None]
        note = f"\nLeft float: {', '.join(float_layers)}" if float_layers else ""
        return f"{table}{note}"


def quantization_summary(
    model: keras.Model, print_fn: Callable[[str], None] | None = print
) -> QuantizationSummary:
    """Prints and returns a table of the model's layers: bits, step, zeros, error and bytes.

    Args:
        model: A float or quantized model.
        print_fn: Called with the table; None prints nothing.
    """
    kernels = {kernel.layer: kernel for kernel in quantized_kernels(model)}
    rows, total = [], 0
    for layer in model.layers:
        inner = plain_layer(layer)
        kernel = kernels.get(inner.name)
        if kernel:
            rows.append(_quantized_row(kernel))
            total += rows[-1].float_bytes
        elif kernel_of(inner):
            rows.append(_float_row(inner))
        total += sum(FLOAT_BYTES * math.prod(weight.shape) for weight in inner.weights)
    summary = QuantizationSummary(tuple(rows), total - sum(row.float_bytes for row in rows))
    if print_fn:
        print_fn(str(summary))
    return summary


def _quantized_row(kernel: QuantizedKernel) -> LayerSummary:
    latent, value = kernel.latent.numpy(), kernel.value().numpy()
    step = kernel.state["step"].numpy()
    bits = kernel.quantizer.bits
    norm = np.linalg.norm(latent)
    return LayerSummary(
        layer=kernel.layer,
        shape=latent.shape,
        bits=bits,
        step=float(step.mean()),
        zeros=float(np.mean(value == 0)),
        error=float(np.linalg.norm(latent - value) / norm) if norm else 0.0,
        float_bytes=FLOAT_BYTES * latent.size,
        packed_bytes=math.ceil(bits * latent.size / 8) + FLOAT_BYTES * step.size,
    )


def _float_row(layer: keras.layers.Layer) -> LayerSummary:
    weights = getattr(layer, require_kernel(layer).attribute).numpy()
    size = FLOAT_BYTES * weights.size
    return LayerSummary(
        layer=layer.name,
        shape=weights.shape,
        bits=FLOAT_BITS,
        step=None,
        zeros=float(np.mean(weights == 0)),
        error=0.0,
        float_bytes=size,
        packed_bytes=size,
    )
