"""The kernels of a tf_keras model as rows: one for each output channel."""

from collections.abc import Iterator

import numpy as np

from tfqkd.compat import keras
from tfqkd.core.einsum import channel_axes
from tfqkd.core.summary import FLOAT_BITS
from tfqkd.export.codes import find_planes
from tfqkd.export.owners import layer_paths
from tfqkd.fronts.tfmot.kernels import kernels_of
from tfqkd.fronts.tfmot.model import quantized_kernels

_CELLS = (keras.layers.LSTMCell, keras.layers.GRUCell, keras.layers.SimpleRNNCell)


def quantized_channels(model: keras.Model, plain: keras.Model) -> dict[str, tuple[np.ndarray, ...]]:
    """Returns the kernels of the layers that are quantized, by layer.

    Args:
        model: A model of tf_keras, quantized or stripped; or a twin of one of Keras 3.
        plain: The stripped one.

    Returns:
        float32 [channels, weights of a channel] for each kernel; of a stripped model those that have codes.
    """
    wrapped = {
        (kernel.layer, kernel.attribute)
        for kernel in quantized_kernels(model)
        if kernel.quantizer.bits < FLOAT_BITS
    }
    # Of a twin: the names of layers of Keras 3.
    told: frozenset[str] = getattr(model, "quantized_layers", frozenset())
    found: dict[str, tuple[np.ndarray, ...]] = {}
    for path, layer in layer_paths(plain):
        name = "/".join(path)
        is_told = any("/".join(path[:length]) in told for length in range(1, len(path) + 1))
        for attribute, rows, is_looked_for in rows_of(layer):
            known = is_told or (name, attribute) in wrapped
            # A kernel of zeros has any codes, and no converter has to keep it.
            if rows.any() and (known or (is_looked_for and find_planes(rows, axis=0))):
                found[name] = (*found.get(name, ()), rows)
    return found


def rows_of(layer: keras.layers.Layer) -> Iterator[tuple[str, np.ndarray, bool]]:
    """Yields a layer's own kernels, not those of layers within it.

    Yields:
        The attribute, float32 [channels, weights of a channel], and whether tfmot's front quantizes it, so
        that a kernel that has codes counts as quantized.
    """
    if not layer.built:  # What a Bidirectional has made its two layers of.
        return
    for kernel in kernels_of(layer):
        yield kernel.attribute, _rows(layer, kernel.attribute, kernel.channel_axes), True
    if isinstance(layer, keras.layers.EinsumDense):
        yield "kernel", _rows(layer, "kernel", channel_axes(layer.equation)), False
    elif isinstance(layer, keras.layers.Embedding):
        yield "embeddings", _rows(layer, "embeddings", (1,)), False
    elif isinstance(layer, _CELLS):
        for attribute in ("kernel", "recurrent_kernel"):
            yield attribute, _rows(layer, attribute, (1,)), False


def _rows(layer: keras.layers.Layer, attribute: str, axes: tuple[int, ...]) -> np.ndarray:
    value = getattr(layer, attribute).numpy()
    rows = np.moveaxis(value, axes, range(len(axes)))
    return rows.reshape(np.prod([value.shape[axis] for axis in axes]), -1)
