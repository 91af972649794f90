"""What quantization did to each layer of a tf_keras model, as a table."""

import math
import re
from collections.abc import Callable, Iterator

from tfqkd.compat import keras, tf
from tfqkd.core.summary import (
    FLOAT_BYTES,
    ActivationSummary,
    LayerSummary,
    QuantizationSummary,
    float_row,
    quantized_row,
)
from tfqkd.fronts.tfmot.cloning import plain_layer
from tfqkd.fronts.tfmot.model import (
    QuantizedKernel,
    quantized_activations,
    quantized_kernels,
)

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
    for name, weights, quantized in _weights_by_layer(model):
        total += sum(FLOAT_BYTES * math.prod(weight.shape) for weight in weights)
        kernels = [weight for weight in weights if id(weight) in quantized or _is_kernel(weight)]
        for row_name, kernel in zip(_row_names(name, kernels), kernels, strict=True):
            rows.append(_row(row_name, kernel, quantized.get(id(kernel))))
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


def _row(name: str, kernel: tf.Variable, found: QuantizedKernel | None) -> LayerSummary:
    if found is None:
        return float_row(name, kernel.numpy())
    bits = found.quantizer.bits
    return quantized_row(
        name, found.latent.numpy(), found.value().numpy(), found.scales().numpy(), bits
    )
