"""What quantization did to each layer of a model, as rows and a table; a front collects the rows."""

import dataclasses
import math

import numpy as np

from tfqkd.tables import Table

FLOAT_BITS, FLOAT_BYTES = 32, 4


@dataclasses.dataclass(frozen=True)
class LayerSummary:
    """One layer's kernel.

    Attributes:
        layer: Its name; with the kernel's where a layer has several.
        shape: Of the kernel.
        bits: Of a weight; 32 for float.
        step: Mean scale of the codes over the tensor, its channels or its sides; None for float.
        zeros: Share of weights that are zero, 0 to 1.
        error: Relative L2 error of quantization, ‖w − Q(w)‖ / ‖w‖.
        float_bytes: Size in float32.
        packed_bytes: Size with `bits` bits a weight and a float32 a scale.
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
class ActivationSummary:
    """One quantized activation.

    Attributes:
        layer: The layer that puts it out.
        bits: Of a code.
        lower: The least code: 0 where no value is negative.
        upper: The largest code.
        step: The trained step Δ.
    """

    layer: str
    bits: int
    lower: int
    upper: int
    step: float


@dataclasses.dataclass(frozen=True)
class QuantizationSummary:
    """The layers of a model, and what else it holds.

    Attributes:
        layers: A row for each kernel or table of embeddings, in the model's order.
        activations: A row for each quantized activation.
        other_bytes: Size of biases, batch norm and all else, float32.
    """

    layers: tuple[LayerSummary, ...]
    activations: tuple[ActivationSummary, ...]
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
        return f"{table}{note}{self._activations_text()}"

    def _activations_text(self) -> str:
        if not self.activations:
            return ""
        table = Table("activation", "bits", "codes", "step")
        for row in self.activations:
            table.add(row.layer, row.bits, f"{row.lower} to {row.upper}", f"{row.step:.4g}")
        return f"\n\n{table}"


def quantized_row(
    name: str, latent: np.ndarray, value: np.ndarray, scales: np.ndarray, bits: int
) -> LayerSummary:
    """Returns the row of a quantized kernel.

    Args:
        name: Of the layer; with the kernel's where a layer has several.
        latent: The float weights.
        value: The quantized ones.
        scales: What is kept beside the codes.
        bits: Of a code.
    """
    norm = np.linalg.norm(latent)
    return LayerSummary(
        layer=name,
        shape=latent.shape,
        bits=bits,
        step=float(scales.mean()),
        zeros=float(np.mean(value == 0)),
        error=float(np.linalg.norm(latent - value) / norm) if norm else 0.0,
        float_bytes=FLOAT_BYTES * latent.size,
        packed_bytes=math.ceil(bits * latent.size / 8) + FLOAT_BYTES * scales.size,
    )


def float_row(name: str, weights: np.ndarray) -> LayerSummary:
    """Returns the row of a kernel that is left float."""
    size = FLOAT_BYTES * weights.size
    return LayerSummary(
        layer=name,
        shape=weights.shape,
        bits=FLOAT_BITS,
        step=None,
        zeros=float(np.mean(weights == 0)),
        error=0.0,
        float_bytes=size,
        packed_bytes=size,
    )
