"""The integer graph while it is read: tensors get codes where the model rounds to trained steps."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfqkd.compat import keras
from tfqkd.export.integer.graph import HIGHEST, LOWEST, Codes, Graph, Image, Kind, Operation
from tfqkd.export.integer.kernels import Affine
from tfqkd.export.integer.tensors import Draft, Pixels, Value, unsupported
from tfqkd.export.verification import ExportError
from tfqkd.fronts.tfmot.layers import ActivationQuantization

_PIXELS = np.arange(256.0)[:, np.newaxis]
_ZERO_POINTS = {(0, HIGHEST - LOWEST): LOWEST, (LOWEST, HIGHEST): 0}
"""By the least and the largest code that activations were trained with."""


class Builder:
    """A graph that grows: operations are added when what they make is rounded."""

    def __init__(self) -> None:
        self._image: Image | None = None
        self._tensors: list[Codes] = []
        self._operations: list[Operation] = []

    def graph(self, output: Value) -> Graph:
        """Returns the whole graph, which ends in a value."""
        if self.codes(output) != len(self._tensors) - 1 or self._image is None:
            raise ExportError(
                "The output of an integer file must be what it computes last. Received: the output "
                f"'{self._tensors[self.codes(output)].layer}', which other layers read. Nothing was written. "
                "Remove these layers."
            )
        return Graph(self._image, tuple(self._tensors), tuple(self._operations))

    def shape(self, index: int) -> tuple[int, ...]:
        """Returns the shape of a tensor of codes, without the batch."""
        return self._tensors[index].shape

    def rounded(self, layer: ActivationQuantization, value: Value) -> Value:
        """Gives a value its codes."""
        if (layer.lower, layer.upper) not in _ZERO_POINTS:
            raise ExportError(
                "Activations of an integer file have the codes 0 to 255 or -128 to 127. "
                f"Received: layer '{layer.name}' with {layer.lower} to {layer.upper}. Nothing was written. "
                "Quantize with tfqkd.DeployScheme()."
            )
        zero_point, step = _ZERO_POINTS[layer.lower, layer.upper], np.float32(layer.step)
        if isinstance(value, int):
            codes = self._tensors[value]
            if (codes.scale, codes.zero_point) != (step, zero_point):
                raise unsupported(layer, "which rounds codes to other codes")
            return value
        codes = Codes(value.layer, value.shape, step, zero_point)
        if isinstance(value, Pixels):
            return self._start(value, codes)
        made: Value = self._make(value, codes)
        for mover, parts in value.moves:
            made = self.moved(mover, made, **parts)
        return made

    def codes(self, value: Value) -> int:
        """Returns the index of the codes that a layer reads."""
        if isinstance(value, int):
            return value
        if isinstance(value, Pixels) and not value.layer and not self._tensors:
            # Pixels that nothing scales are codes as they come.
            return self._start(value, Codes("", value.shape, np.float32(1), LOWEST))
        raise ExportError(
            "An integer file needs a trained step for everything that it rounds. "
            f"Received: '{value.layer or 'the input'}', whose output has none. Nothing was written. "
            "Quantize and train the model with tfqkd.DeployScheme(), or export to litert-int8-full, which "
            "measures ranges."
        )

    def moved(self, layer: keras.layers.Layer, value: Value, **parts: Any) -> Value:
        """Adds an operation, of these parts, that keeps what codes stand for."""
        if isinstance(value, Draft):
            return dataclasses.replace(value, moves=(*value.moves, (layer, parts)))
        index = self.codes(value)
        shape = tuple(layer.compute_output_shape((None, *self.shape(index))))[1:]
        codes = dataclasses.replace(self._tensors[index], layer=layer.name, shape=shape)
        operation = Operation(layer=layer.name, inputs=(index,), output=-1, **parts)
        return self._make(Draft(operation, shape, layer.name), codes)

    def drafted(
        self,
        layer: keras.layers.Layer,
        values: Sequence[Value],
        kind: Kind,
        affine: Affine | None = None,
        **parts: Any,
    ) -> Draft:
        """Returns what an operation makes of values, which must be codes."""
        inputs = tuple(self.codes(value) for value in values)
        shapes = [(None, *self.shape(index)) for index in inputs]
        shape = tuple(layer.compute_output_shape(shapes if len(shapes) > 1 else shapes[0]))[1:]
        operation = Operation(kind, layer.name, inputs, -1, **parts)
        return Draft(operation, shape, layer.name, affine)

    def _start(self, pixels: Pixels, codes: Codes) -> int:
        if self._tensors:
            raise ExportError(
                "The image of an integer file must be rounded once. "
                f"Received: another step behind '{pixels.layer or 'the input'}'. Nothing was written. Let "
                "all first layers read one standardized image."
            )
        made = np.rint((pixels.gain * _PIXELS + pixels.offset) / float(codes.scale))
        made = np.clip(made + codes.zero_point, LOWEST, HIGHEST)
        self._image = Image(pixels.gain, pixels.offset, bool((made == _PIXELS + LOWEST).all()))
        self._tensors.append(codes)
        return 0

    def _make(self, draft: Draft, codes: Codes) -> int:
        kernel = None
        if draft.affine is not None:
            scale = self._tensors[draft.operation.inputs[0]].scale
            kernel = draft.affine.rounded(scale, codes.scale)
        self._tensors.append(codes)
        output = len(self._tensors) - 1
        self._operations.append(dataclasses.replace(draft.operation, kernel=kernel, output=output))
        return output
