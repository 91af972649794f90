"""Packs a TFLite file of integers: kernels of few codes take as many bits as these need."""

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfqkd.runtime.widening import (
    CODES,
    HEADER,
    IDENTIFIER,
    PLAIN,
    PRODUCTS,
    VERSION,
    ZEROS,
)

_MOST_BITS = 4
_FEWEST_CODES = 64
_FEWEST_ZEROS = 4
_BIAS = 2
"""The input of convolutions and dense layers behind what they read and their kernel."""


def pack(content: bytes) -> bytes:
    """Returns the packed file of a TFLite file; `runtime.widening.widen` gives the very same bytes back.

    Kernels of up to 16 different codes become codes of 2 to 4 bits, the scales of biases the product that
    they are, and zeros their number.

    Args:
        content: A TFLite file.
    """
    segments = list(_segments(content))
    header = HEADER.pack(VERSION, IDENTIFIER, len(content), zlib.crc32(content), len(segments))
    return header + b"".join(segments)


def _segments(content: bytes) -> Iterator[bytes]:
    place = 0
    for start, length, segment in sorted(_found(content)):
        yield from _plain(content[place:start])
        yield segment
        place = start + length
    yield from _plain(content[place:])


def _found(content: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yields the places, lengths and segments of what has a shorter form than its bytes."""
    model = schema.Model.GetRootAs(content)
    graph = model.Subgraphs(0)
    begin = np.frombuffer(content, np.uint8).__array_interface__["data"][0]

    def place_of(values: np.ndarray) -> int:
        return values.__array_interface__["data"][0] - begin

    seen = set()
    for number in range(graph.OperatorsLength()):
        operator = graph.Operators(number)
        if operator.InputsLength() != _BIAS + 1:
            continue
        source, kernel, bias = (graph.Tensors(operator.Inputs(index)) for index in range(3))
        codes = model.Buffers(kernel.Buffer()).DataAsNumpy()
        if kernel.Type() == schema.TensorType.INT8 and kernel.Buffer() not in seen:
            seen.add(kernel.Buffer())
            packed = _codes(codes)
            if packed is not None:
                yield place_of(codes), len(codes), packed
        scales, products = (each.Quantization().ScaleAsNumpy() for each in (kernel, bias))
        (step,) = source.Quantization().ScaleAsNumpy()
        if np.array_equal(scales * step, products) and len(scales) > 2:
            segment = bytes([PRODUCTS]) + _number(len(scales)) + struct.pack("<f", step)
            yield place_of(products), 4 * len(scales), segment + _number(place_of(scales))


def _codes(values: np.ndarray) -> bytes | None:
    """Returns the segment of a kernel, or None if it has too many different codes for a shorter form."""
    table, indices = np.unique(values, return_inverse=True)
    bits = max(1, int(len(table) - 1).bit_length())
    if bits > _MOST_BITS or len(values) < _FEWEST_CODES:
        return None
    ones = np.unpackbits(indices.astype(np.uint8)[:, np.newaxis], axis=1, bitorder="little")
    packed = np.packbits(ones[:, :bits].reshape(-1), bitorder="little").tobytes()
    filled = table.tobytes().ljust(2**bits, b"\0")
    return bytes([CODES]) + _number(len(values)) + bytes([bits]) + filled + packed


def _plain(content: bytes) -> Iterator[bytes]:
    """Yields the segments of bytes as they are and of zeros."""
    place = 0
    for start, stop in _runs_of_zeros(content):
        if start > place:
            yield bytes([PLAIN]) + _number(start - place) + content[place:start]
        yield bytes([ZEROS]) + _number(stop - start)
        place = stop
    if place < len(content):
        yield bytes([PLAIN]) + _number(len(content) - place) + content[place:]


def _runs_of_zeros(content: bytes) -> Iterator[tuple[int, int]]:
    is_zero = np.frombuffer(content, np.uint8) == 0
    edges = np.flatnonzero(np.diff(np.pad(is_zero, 1).astype(np.int8)))
    for start, stop in edges.reshape(-1, 2).tolist():
        if stop - start > _FEWEST_ZEROS:
            yield start, stop


def _number(value: int) -> bytes:
    """Returns a number as unsigned LEB128."""
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])
