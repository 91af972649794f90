"""A small Keras 3 model for each kind of layer with kernels, from images to classes."""
# ruff: noqa: PLW0108 (a layer belongs to one model: each model that is built makes its own)

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

layers = keras.layers
SHAPE = (6, 4, 3)
NAME = "kind"
"""Of the layer that is quantized; stem and head stay float."""


def _steps(make: Callable) -> Callable:
    """A layer of sequences: [N, steps, features]."""
    return lambda x: make()(layers.Reshape((6, 12))(x))


def _volume(make: Callable) -> Callable:
    """A layer of volumes: [N, depth, height, width, channels]."""
    return lambda x: make()(layers.Reshape((3, 2, 4, 3))(x))


def _attention(make: Callable) -> Callable:
    def attended(x: Any) -> Any:
        sequence = layers.Reshape((6, 12))(x)
        return make()(sequence, value=sequence)

    return attended


def _words(x: Any) -> Any:
    """Brightnesses as words: 0 to 6."""
    words = layers.Rescaling(6.0)(layers.Flatten()(x))
    return layers.Embedding(7, 3, name=NAME)(words)


def _recurrent(cls: type, **options: Any) -> Callable:
    return _steps(lambda: cls(3, name=NAME, **options))


KINDS: dict[str, Callable] = {
    "Dense": lambda x: layers.Dense(5, name=NAME)(layers.Flatten()(x)),
    "EinsumDense": _steps(
        lambda: layers.EinsumDense("abc,cde->abde", (6, 2, 5), bias_axes="de", name=NAME)
    ),
    "EinsumDense, a matrix a step": _steps(
        lambda: layers.EinsumDense("abc,bcd->abd", (6, 5), name=NAME)
    ),
    "Conv1D": _steps(lambda: layers.Conv1D(5, 3, name=NAME)),
    "Conv2D": lambda x: layers.Conv2D(5, 3, name=NAME)(x),
    "Conv2D, grouped": lambda x: layers.Conv2D(6, 3, groups=3, name=NAME)(x),
    "Conv3D": _volume(lambda: layers.Conv3D(5, 2, name=NAME)),
    "Conv1DTranspose": _steps(lambda: layers.Conv1DTranspose(5, 3, name=NAME)),
    "Conv2DTranspose": lambda x: layers.Conv2DTranspose(5, 3, strides=2, name=NAME)(x),
    "Conv3DTranspose": _volume(lambda: layers.Conv3DTranspose(5, 2, name=NAME)),
    "DepthwiseConv1D": _steps(lambda: layers.DepthwiseConv1D(3, name=NAME)),
    "DepthwiseConv2D": lambda x: layers.DepthwiseConv2D(3, depth_multiplier=2, name=NAME)(x),
    "SeparableConv1D": _steps(lambda: layers.SeparableConv1D(5, 3, name=NAME)),
    "SeparableConv2D": lambda x: layers.SeparableConv2D(5, 3, name=NAME)(x),
    "Embedding": _words,
    "MultiHeadAttention": _attention(lambda: layers.MultiHeadAttention(2, 4, name=NAME)),
    "GroupQueryAttention": _attention(lambda: layers.GroupQueryAttention(4, 2, 1, name=NAME)),
    "LSTM": _recurrent(layers.LSTM),
    "LSTM, unrolled": _recurrent(layers.LSTM, unroll=True),
    "GRU": _recurrent(layers.GRU),
    "GRU, unrolled": _recurrent(layers.GRU, unroll=True),
    "Bidirectional LSTM, unrolled": _steps(
        lambda: layers.Bidirectional(layers.LSTM(3, unroll=True), name=NAME)
    ),
}


def build(kind: str) -> keras.Model:
    """Returns a model of random weights with a layer of a kind, no bias of it zero."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input(SHAPE, name="pixels")
    x = layers.Flatten()(KINDS[kind](layers.Rescaling(1 / 255)(inputs)))
    model = keras.Model(inputs, layers.Dense(3, name="head")(x), name="network")
    random = np.random.default_rng(5)
    for weight in model.weights:
        if "bias" in weight.path:
            weight.assign(random.normal(0, 0.1, weight.shape))
    return model


def pixels(count: int) -> np.ndarray:
    """Returns random images, float32 in 0..255."""
    return np.random.default_rng(4).integers(0, 256, (count, *SHAPE)).astype(np.float32)
