"""What a tensor of a Keras model is while its integer graph is read."""

import dataclasses
from typing import Any

import numpy as np

from tfqkd.compat import keras
from tfqkd.export.integer.graph import Operation
from tfqkd.export.integer.kernels import Affine
from tfqkd.export.verification import ExportError


@dataclasses.dataclass(frozen=True)
class Pixels:
    """The image, scaled: `gain · pixel + offset`.

    Attributes:
        layer: The last layer that scales it; "" for pixels as they come.
        shape: Its shape without the batch.
        gain: float64 [channels].
        offset: float64 [channels].
    """

    layer: str
    shape: tuple[int, ...]
    gain: np.ndarray
    offset: np.ndarray

    def scaled(self, layer: keras.layers.Layer, gain: Any, offset: Any) -> "Pixels":
        """Returns what a layer makes of it that multiplies by `gain` and adds `offset`."""
        gain, offset = (np.asarray(each, np.float64).ravel() for each in (gain, offset))
        if not {gain.size, offset.size} <= {1, self.shape[-1]}:
            raise unsupported(layer, "which scales each pixel of its own")
        return Pixels(layer.name, self.shape, self.gain * gain, self.offset * gain + offset)


@dataclasses.dataclass(frozen=True)
class Draft:
    """What an operation makes before it is rounded; the layers behind it may still change it.

    Attributes:
        operation: The operation, without an output and a kernel of integers.
        shape: What it makes, without the batch.
        layer: The last Keras layer that it does.
        affine: Its kernel, if it has one.
        moves: Layers behind it that only move values, with what their operations are: values may be rounded
            before or after that.
    """

    operation: Operation
    shape: tuple[int, ...]
    layer: str
    affine: Affine | None = None
    moves: tuple[tuple[keras.layers.Layer, dict[str, Any]], ...] = ()

    @property
    def is_bare(self) -> bool:
        """Whether a batch normalisation or a ReLU may still follow."""
        return not (self.operation.rectifies or self.operation.ceiling is not None or self.moves)

    def changed(self, layer: keras.layers.Layer, **parts: Any) -> "Draft":
        """Returns the draft with other parts of its operation, which a layer says."""
        operation = dataclasses.replace(self.operation, **parts)
        return dataclasses.replace(self, operation=operation, layer=layer.name)


Value = Pixels | Draft | int
"""A tensor; an integer is the index of a tensor of codes."""


def unsupported(layer: keras.layers.Layer, what: str) -> ExportError:
    """Returns the error of a layer that has no integer operation."""
    return ExportError(
        "An integer file is made of convolutions, depthwise ones and dense layers with batch normalisation "
        "and ReLU or ReLU6 behind them, additions of two, pooling, padding and reshapes. Received: layer "
        f"'{layer.name}', {what}. Nothing was written. Export to litert-int8-full or litert-int8."
    )
