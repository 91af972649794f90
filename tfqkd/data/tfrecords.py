"""Reads TFRecord files without TensorFlow."""

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

_LENGTH, _CHECKSUM = struct.Struct("<Q"), struct.Struct("<I")
_AT_ONCE = 16 << 20  # Bytes whose checksums are computed together.
_POLYNOMIAL = 0x82F63B78  # Castagnoli's, its bits turned round.


def records(path: Path) -> Iterator[bytes]:
    """Yields the records of a TFRecord file: each a length, its checksum, the bytes, and theirs.

    Args:
      path: The file.

    Raises:
      ValueError: If it is damaged.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        while file.tell() < size:
            contents, sums = _some(file, size)
            if np.any(masked_checksums(contents) != sums):
                raise ValueError(
                    f"A file must hold what was written to it. Received: {path}, which has a wrong "
                    "checksum. Copy or download it again."
                )
            yield from contents[1::2]


def masked_checksums(contents: Sequence[bytes]) -> np.ndarray:
    """Returns the checksums of a TFRecord file's contents: their CRC-32C, rotated and shifted, uint32.

    Args:
      contents: Any number of byte strings, which are read side by side, byte by byte.
    """
    lengths = np.array([len(each) for each in contents])
    order = np.argsort(-lengths, kind="stable")
    rows = np.zeros((lengths.max(initial=0), len(contents)), np.uint8)
    for column, number in enumerate(order):
        rows[: lengths[number], column] = np.frombuffer(contents[number], np.uint8)
    # Of the longest first those are left that have a byte in the row.
    left = np.searchsorted(-lengths[order], -np.arange(len(rows)), side="left")
    sums = np.full(len(contents), 0xFFFFFFFF, np.uint32)
    for row, count in zip(rows, left, strict=True):
        some = sums[:count]
        sums[:count] = _TABLE[(some ^ row[:count]) & 0xFF] ^ (some >> 8)
    turned = np.empty_like(sums)
    turned[order] = sums ^ 0xFFFFFFFF
    return ((turned >> 15) | (turned << 17)) + np.uint32(0xA282EAD8)


def _some(file: BinaryIO, size: int) -> tuple[list[bytes], np.ndarray]:
    """Reads lengths and records, and the checksums of both, until they are enough to compute with."""
    contents: list[bytes] = []
    sums: list[int] = []
    longest = 0
    while file.tell() < size and (longest + 1) * len(contents) < _AT_ONCE:
        for _ in range(2):
            # What is damaged may say that it is longer than the file.
            length = _LENGTH.unpack(contents[-1])[0] if len(contents) % 2 else _LENGTH.size
            contents.append(file.read(min(length, size)))
            sums.append(_CHECKSUM.unpack(file.read(_CHECKSUM.size).ljust(_CHECKSUM.size))[0])
        longest = max(longest, len(contents[-1]))
    return contents, np.array(sums, np.uint32)


def _table() -> np.ndarray:
    values = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        values = np.where(values & 1, (values >> 1) ^ np.uint32(_POLYNOMIAL), values >> 1)
    return values


_TABLE = _table()
