"""The kernels of layers of tf_keras as rows: one for each output channel."""

from collections.abc import Iterator

import numpy as np

from tfqkd.compat import keras
from tfqkd.core.einsum import channel_axes
from tfqkd.fronts.tfmot.kernels import kernels_of

_CELLS = (keras.layers.LSTMCell, keras.layers.GRUCell, keras.layers.SimpleRNNCell)


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
