"""Packs a TFLite file of integers: kernels of few codes take as many bits as these need."""

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfqkd.export.integer.few_digits import shifts_of
from tfqkd.export.integer.segments import Structure, to_number
from tfqkd.runtime.widening import (
    CODES,
    FLOATS,
    HEADER,
    IDENTIFIER,
    INTEGERS,
    MOST_PLACES,
    PRODUCTS,
    VERSION,
)

_MOST_BITS = 4
_FEWEST_CODES = 64
_FEWEST_NUMBERS = 4
_BIAS = 2
"""The input of convolutions and dense layers behind what they read and their kernel."""


def pack(content: bytes) -> bytes:
    """Returns the packed file of a TFLite file; `runtime.widening.widen` gives the very same bytes back.

    Kernels of up to 16 different codes become codes of 2 to 4 bits. The scales of biases become a product
    of two other scales, scales and biases of few digits 16 bits, zeros their number, and repeats a copy.

    Args:
        content: A TFLite file.
    """
    segments = list(_segments(content))
    header = HEADER.pack(VERSION, IDENTIFIER, len(content), zlib.crc32(content), len(segments))
    return header + b"".join(segments)


def _segments(content: bytes) -> Iterator[bytes]:
    structure = Structure(content)
    offset = 0
    for start, length, segment in sorted(_found(content)):
        yield from structure.segments(offset, start)
        yield segment
        offset = start + length
    yield from structure.segments(offset, len(content))


def _found(content: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yields the offsets, lengths and segments of what has a shorter form than its bytes."""
    model = schema.Model.GetRootAs(content)
    graph = model.Subgraphs(0)
    begin = np.frombuffer(content, np.uint8).__array_interface__["data"][0]

    def offset_of(values: np.ndarray) -> int:
        return values.__array_interface__["data"][0] - begin

    seen: set[int] = set()
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
                yield offset_of(codes), len(codes), packed
        scales, products = (each.Quantization().ScaleAsNumpy() for each in (kernel, bias))
        (step,) = source.Quantization().ScaleAsNumpy()
        if np.array_equal(scales * step, products) and len(scales) > 2:
            segment = bytes([PRODUCTS]) + to_number(len(scales)) + struct.pack("<f", step)
            yield offset_of(products), 4 * len(scales), segment + to_number(offset_of(scales))
        biases = model.Buffers(bias.Buffer()).DataAsNumpy()
        for values, packed in ((scales, _floats(scales)), (biases, _integers(biases))):
            if packed is not None and offset_of(values) not in seen:
                seen.add(offset_of(values))
                yield offset_of(values), values.nbytes, packed


def _floats(values: np.ndarray) -> bytes | None:
    """Returns the segment of scales, or None if they have more digits or exponents than 16 bits hold."""
    bits = values.view("<u4")
    exponents, digits = bits >> 23, bits & (1 << 23) - 1
    least = int(exponents.min())
    if len(values) < _FEWEST_NUMBERS or (digits & 2047).any() or exponents.max() - least > 15:
        return None
    packed = (exponents - least) << 12 | digits >> 11
    return (
        bytes([FLOATS]) + to_number(len(values)) + bytes([least]) + packed.astype("<u2").tobytes()
    )


def _integers(values: np.ndarray) -> bytes | None:
    """Returns the segment of biases, or None if they have more digits than 16 bits hold."""
    numbers = np.frombuffer(values.tobytes(), "<i4").astype(np.int64)
    magnitudes = np.abs(numbers)
    shifts, least = shifts_of(magnitudes)
    digits = magnitudes >> shifts
    is_exact = (digits << shifts == magnitudes).all()
    if len(numbers) < _FEWEST_NUMBERS or least > MOST_PLACES or not is_exact:
        return None
    packed = (numbers < 0).astype(np.int64) << 15 | shifts - least << 12 | digits
    head = bytes([INTEGERS]) + to_number(len(numbers)) + bytes([least])
    return head + packed.astype("<u2").tobytes()


def _codes(values: np.ndarray) -> bytes | None:
    """Returns the segment of a kernel, or None if it has too many different codes for a shorter form."""
    table, indices = np.unique(values, return_inverse=True)
    bits = max(1, int(len(table) - 1).bit_length())
    if bits > _MOST_BITS or len(values) < _FEWEST_CODES:
        return None
    ones = np.unpackbits(indices.astype(np.uint8)[:, np.newaxis], axis=1, bitorder="little")
    packed = np.packbits(ones[:, :bits].reshape(-1), bitorder="little").tobytes()
    filled = table.tobytes().ljust(2**bits, b"\0")
    return bytes([CODES]) + to_number(len(values)) + bytes([bits]) + filled + packed
