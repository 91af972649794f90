"""The first operators of a TFLite file of integers: they make the first codes of pixels."""

import dataclasses

import numpy as np

from tfqkd.export.integer.graph import LOWEST, Codes, Graph, Kernel, Kind, Operation
from tfqkd.export.integer.litert_parts import Parts
from tfqkd.export.tflite import schema
from tfqkd.runtime.signature import INPUT

_Operator = schema.BuiltinOperator
LANES = 16
"""Channels that XNNPACK's int8 kernels make at once with AVX-512; with NEON 8 or 16."""
_FACTOR = 64
"""Of the codes that stand for the standardisation: its offset is a multiple of 1/64 of a pixel's worth."""
_PIXEL = np.float32(1)
"""The scale of pixels."""


def add_image(parts: Parts, graph: Graph, input_type: str, lanes: int) -> int:
    """Adds the input and what makes the first codes of it; returns the index of these.

    Args:
        parts: Of the file, still empty.
        graph: What the file computes.
        input_type: "float32", "uint8" or "int8".
        lanes: How many channels pixels may have together that are standardized side by side.
    """
    codes = graph.tensors[0]
    # Pixels that are codes already have the step of the codes, where no floats are rounded to pixels.
    is_codes = graph.image.is_pixel and (input_type != "float32" or codes.scale == 1)
    start = (
        dataclasses.replace(codes, layer=INPUT)
        if is_codes
        else Codes(INPUT, codes.shape, _PIXEL, LOWEST)
    )
    index = _start(parts, start, input_type)
    return index if is_codes else _standardized(parts, graph, index, lanes)


def _start(parts: Parts, start: Codes, input_type: str) -> int:
    """Adds the input, and int8 codes of it."""
    if input_type == "int8":
        return parts.activation(start)
    if input_type == "float32":
        floats = parts.floats(INPUT, start.shape)
    else:
        # XNNPACK makes codes of floats; codes of other codes LiteRT makes outside of it.
        pixels = parts.activation(start, schema.TensorType.UINT8)
        floats = parts.floats(f"{INPUT}/float32", start.shape)
        parts.add(_Operator.DEQUANTIZE, [pixels], floats)
    index = parts.activation(dataclasses.replace(start, layer=f"{INPUT}/int8"))
    parts.add(_Operator.QUANTIZE, [floats], index)
    return index


def _standardized(parts: Parts, graph: Graph, pixels: int, lanes: int) -> int:
    """Adds a convolution of one pixel, which scales each channel and adds to it.

    Its few channels leave most lanes of a processor empty, so that it takes some pixels side by side, as
    channels of one. A depthwise one would multiply less; LiteRT's own kernel for it rounds otherwise.
    """
    codes = graph.tensors[0]
    height, width, channels = codes.shape
    most = max(1, lanes // channels)
    count = max(each for each in range(1, most + 1) if height * width % each == 0)
    gain = np.tile(np.broadcast_to(graph.image.gain, channels), count)
    offset = np.tile(np.broadcast_to(graph.image.offset, channels), count)
    scales = (np.abs(gain) / _FACTOR).astype(np.float32)
    bias = np.rint(offset / scales.astype(np.float64)).astype(np.int32)
    ones = np.diag(np.sign(gain)).astype(np.int8).reshape(len(gain), 1, 1, len(gain))
    kernel = Kernel(ones, _FACTOR, scales, bias, 0)
    if count == 1:
        return _convolved(parts, kernel, pixels, codes)
    rows = (1, height * width // count, count * channels)
    beside = parts.activation(Codes(f"{INPUT}/side by side", rows, _PIXEL, LOWEST))
    parts.reshape(INPUT, pixels, beside, rows)
    made = dataclasses.replace(codes, layer=f"{codes.layer}/side by side", shape=rows)
    standardized = _convolved(parts, kernel, beside, made)
    index = parts.activation(codes)
    parts.reshape(codes.layer, standardized, index, codes.shape)
    return index


def _convolved(parts: Parts, kernel: Kernel, pixels: int, codes: Codes) -> int:
    """Adds a convolution of pixels, and the codes that it makes."""
    index = parts.activation(codes)
    operation = Operation(Kind.CONVOLUTION, codes.layer, (0,), 0, kernel)
    parts.convolution(operation, pixels, index, _PIXEL)
    return index
