"""What an integer file computes, of no format: tensors of int8 codes, and the operations between them."""

import dataclasses
import enum
from typing import Literal

import numpy as np

LOWEST, HIGHEST = -128, 127
"""The codes of an activation, int8."""

Padding = Literal["same", "valid"]


class Kind(enum.Enum):
    """The operations that a graph has, each with its inputs and what it reads beside them."""

    CONVOLUTION = "convolution"
    DEPTHWISE = "depthwise convolution"
    DENSE = "dense layer"
    ADDITION = "addition"
    MEAN = "mean over height and width"
    MAXIMUM = "max pooling"
    PADDING = "padding with zeros"
    RESHAPE = "reshape"


@dataclasses.dataclass(frozen=True)
class Codes:
    """A tensor of int8 codes, each of which stands for `scale · (code − zero_point)`.

    Attributes:
        layer: The Keras layer that makes it.
        shape: Its shape without the batch.
        scale: The trained step, float32.
        zero_point: The code of the value 0.
    """

    layer: str
    shape: tuple[int, ...]
    scale: np.float32
    zero_point: int


@dataclasses.dataclass(frozen=True)
class Kernel:
    """The weights of an operation, which stand for `scales · factor · codes`, and its bias.

    Attributes:
        codes: int8, the codes that were trained: [out, height, width, in]; of a depthwise convolution [1,
            height, width, out], of a dense layer [out, in].
        factor: A power of two. A file holds `factor · codes` with the scale of `scales`: its biases are whole
            multiples of the scales of weights and input, so that smaller scales make them more exact.
        scales: float32 [out].
        bias: int32 [out], in units of `scales` times the scale of the input.
        axis: The axis of the output channels in `codes`.
    """

    codes: np.ndarray
    factor: int
    scales: np.ndarray
    bias: np.ndarray
    axis: int

    @property
    def stored(self) -> np.ndarray:
        """The codes that a file holds, int8."""
        return (self.codes * np.int8(self.factor)).astype(np.int8)


@dataclasses.dataclass(frozen=True)
class Operation:
    """A step of the graph. What it computes is rounded to the codes of its output, and clipped to them.

    Attributes:
        kind: What it computes.
        layer: The Keras layer that says so.
        inputs: Indices of the tensors that it reads.
        output: Index of the tensor that it makes.
        kernel: Of convolutions and dense layers.
        ceiling: What values are clipped at before they are rounded: 6 behind a ReLU6; None for nothing.
        rectifies: Whether values below 0 become 0.
        window: Height and width of what max pooling looks at.
        strides: Of convolutions and max pooling.
        dilation: Of convolutions.
        padding: Of convolutions and max pooling: "same" adds zeros as Keras does.
        margins: Of padding: rows above and below, columns left and right.
    """

    kind: Kind
    layer: str
    inputs: tuple[int, ...]
    output: int
    kernel: Kernel | None = None
    ceiling: float | None = None
    rectifies: bool = False
    window: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: Padding = "valid"
    margins: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))


@dataclasses.dataclass(frozen=True)
class Image:
    """How pixels become the codes of the first tensor: `gain · pixel + offset`, rounded to its step.

    Attributes:
        gain: float64 [channels].
        offset: float64 [channels].
        is_pixel: Whether the codes are the pixels less 128, so that integer pixels need no operation.
    """

    gain: np.ndarray
    offset: np.ndarray
    is_pixel: bool


@dataclasses.dataclass(frozen=True)
class Graph:
    """A whole network.

    Attributes:
        image: How the first tensor is made.
        tensors: Its tensors; the first is the image, the last the output.
        operations: In an order in which they can be computed.
    """

    image: Image
    tensors: tuple[Codes, ...]
    operations: tuple[Operation, ...]
