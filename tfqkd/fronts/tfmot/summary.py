"""What quantization did to each layer of a tf_keras model, as a table."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tfqkd.compat import keras, tf
from tfqkd.core.summary import QuantizationSummary
from tfqkd.fronts.summary import LayerWeights, summarized
from tfqkd.fronts.tfmot.cloning import plain_layer
from tfqkd.fronts.tfmot.model import (
    QuantizedKernel,
    quantized_activations,
    quantized_kernels,
)


def quantization_summary(
    model: keras.Model, print_fn: Callable[[str], None] | None = print
) -> QuantizationSummary:
    """Prints and returns a table of the model's layers: bits, step, zeros, error and bytes.

    Args:
        model: A float or quantized model.
        print_fn: Called with the table; None prints nothing.
    """
    return summarized(_layers(model), quantized_activations(model), _array, print_fn)


def _layers(model: keras.Model, path: str = "") -> Iterator[LayerWeights]:
    """Yields the layers of a model with their weights and quantized kernels.

    The layers of a model within the model are named `<model>/<layer>`.
    """
    quantized: dict[str, list[QuantizedKernel]] = {}
    for kernel in quantized_kernels(model):
        quantized.setdefault(kernel.layer, []).append(kernel)
    for layer in map(plain_layer, model.layers):
        name = f"{path}{layer.name}"
        if isinstance(layer, keras.Model):
            yield from _layers(layer, f"{name}/")
            inner = {id(weight) for each in layer.layers for weight in each.weights}
            own = [weight for weight in layer.weights if id(weight) not in inner]
            yield LayerWeights(name, own, {}, functools.partial(_path, name))
        else:
            latents = {id(kernel.latent): kernel for kernel in quantized.get(layer.name, [])}
            # tfmot's own wrapper takes the latent kernels from the layer.
            taken = [kernel.latent for kernel in latents.values()]
            listed = {id(weight) for weight in layer.weights}
            taken = [weight for weight in taken if id(weight) not in listed]
            within = functools.partial(_path, name)
            yield LayerWeights(name, taken + layer.weights, latents, within)


def _path(layer: str, weight: tf.Variable) -> list[str]:
    path = weight.name.split(":")[0].split("/")
    # What tfmot's annotation adds says nothing.
    path = [part for part in path if not part.startswith("quantize_annotate")]
    if len(path) > 1 and layer.endswith(path[0].removeprefix("quant_")):
        path = path[1:]
    return path


def _array(value: Any) -> np.ndarray:
    return value.numpy()
