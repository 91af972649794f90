"""What quantization did to each layer, as a table."""

import dataclasses
import math
import re
from collections.abc import Callable, Iterator

import numpy as np

from tfqkd.compat import keras, tf
from tfqkd.fronts.tfmot.cloning import plain_layer
from tfqkd.fronts.tfmot.model import QuantizedKernel, quantized_activations, quantized_kernels
from tfqkd.tables import Table

FLOAT_BITS, FLOAT_BYTES = 32, 4

_NO_KERNEL = "bias|gamma|beta|alpha|scale"
"""In the names of weights that may have several axes and are no kernels."""


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
    for name, weights, quantized in _weights_by_layer(model):
        total += sum(FLOAT_BYTES * math.prod(weight.shape) for weight in weights)
        kernels = [weight for weight in weights if id(weight) in quantized or _is_kernel(weight)]
        for row_name, kernel in zip(_row_names(name, kernels), kernels, strict=True):
            found = quantized.get(id(kernel))
            rows.append(_quantized_row(row_name, found) if found else _float_row(row_name, kernel))
    activations = tuple(
        ActivationSummary(a.layer, a.quantizer.bits, *a.code_range, a.step)
        for a in quantized_activations(model)
    )
    other = total - sum(row.float_bytes for row in rows)
    summary = QuantizationSummary(tuple(rows), activations, other)
    if print_fn:
        print_fn(str(summary))
    return summary


def _weights_by_layer(
    model: keras.Model, path: str = ""
) -> Iterator[tuple[str, list[tf.Variable], dict[int, QuantizedKernel]]]:
    """Yields the name of each layer, its weights without those of its quantizers, and its quantized kernels.

    The layers of a model within the model are named `<model>/<layer>`.
    """
    quantized: dict[str, list[QuantizedKernel]] = {}
    for kernel in quantized_kernels(model):
        quantized.setdefault(kernel.layer, []).append(kernel)
    for layer in map(plain_layer, model.layers):
        name = f"{path}{layer.name}"
        if isinstance(layer, keras.Model):
            yield from _weights_by_layer(layer, f"{name}/")
            inner = {id(weight) for each in layer.layers for weight in each.weights}
            own = [weight for weight in layer.weights if id(weight) not in inner]
            yield name, own, {}
        else:
            latents = {id(kernel.latent): kernel for kernel in quantized.get(layer.name, [])}
            # tfmot's own wrapper takes the latent kernels from the layer.
            taken = [kernel.latent for kernel in latents.values()]
            listed = {id(weight) for weight in layer.weights}
            taken = [weight for weight in taken if id(weight) not in listed]
            yield name, taken + layer.weights, latents


def _is_kernel(weight: tf.Variable) -> bool:
    """Whether the inputs are multiplied with it, or it is looked up: what the name says, or else the rank."""
    name = weight.name.split("/")[-1]
    if re.search("kernel|embedding", name):
        return True
    return weight.trainable and len(weight.shape) > 1 and not re.search(_NO_KERNEL, name)


def _row_names(layer: str, kernels: list[tf.Variable]) -> list[str]:
    """The layer's name, with that of the kernel within it where it has several."""
    if len(kernels) == 1:
        return [layer]
    names: list[str] = []
    for kernel in kernels:
        path = kernel.name.split(":")[0].split("/")
        # What tfmot's annotation adds says nothing.
        path = [part for part in path if not part.startswith("quantize_annotate")]
        if len(path) > 1 and layer.endswith(path[0].removeprefix("quant_")):
            path = path[1:]
        name = ".".join([layer, *path])
        # A layer may give two of its weights one name.
        names.append(name if name not in names else f"{name}_{len(names)}")
    return names


def _quantized_row(name: str, kernel: QuantizedKernel) -> LayerSummary:
    latent, value, scales = kernel.latent.numpy(), kernel.value().numpy(), kernel.scales().numpy()
    bits = kernel.quantizer.bits
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


def _float_row(name: str, kernel: tf.Variable) -> LayerSummary:
    weights = kernel.numpy()
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
