"""What quantization did to each layer of a Keras 3 model, as a table."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfqkd.core.summary import QuantizationSummary
from tfqkd.fronts.keras3.cloning import leaves
from tfqkd.fronts.keras3.model import as_graph, quantized_activations
from tfqkd.fronts.keras3.quantizer_state import HeldKernel
from tfqkd.fronts.keras3.wrapper import QuantizedLayer, plain_layer
from tfqkd.fronts.summary import LayerWeights, summarized


def quantization_summary(
    model: keras.Model, print_fn: Callable[[str], None] | None = print
) -> QuantizationSummary:
    """Prints and returns a table of the model's layers: bits, step, zeros, error and bytes.

    Args:
        model: A float or quantized model.
        print_fn: Called with the table; None prints nothing.
    """
    layers = []
    for name, layer in leaves(as_graph(model)):
        held = {id(each.kernel.variable): each for each in _held(layer)}
        path = functools.partial(_path, name.rpartition("/")[2])
        layers.append(LayerWeights(name, plain_layer(layer).weights, held, path))
    return summarized(layers, quantized_activations(model), _array, print_fn)


def _held(layer: keras.layers.Layer) -> list[HeldKernel]:
    return layer.quantized if isinstance(layer, QuantizedLayer) else []


def _path(layer: str, weight: keras.Variable) -> list[str]:
    inside = f"/{weight.path}".rpartition(f"/{layer}/")[2]
    return inside.strip("/").split("/")


def _array(value: Any) -> np.ndarray:
    return keras.ops.convert_to_numpy(value).astype(np.float32)
