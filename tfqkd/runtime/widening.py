"""Widens a packed file to the TFLite file that it stands for, byte for byte.

A packed file begins with five numbers, little-endian uint32: its version (1), the identifier `TFQP`, the size
of the TFLite file, its CRC-32, and how many segments follow. Each gives the next bytes of the TFLite file:

| kind, a byte | what follows | the bytes |
|---|---|---|
| 0, plain | n; n bytes | these |
| 1, zeros | n | n zeros |
| 2, codes | n; bits b, 1 to 7, a byte; 2^b bytes; codes, the first in the lowest bits | each code's byte |
| 3, products | n; a float32; an offset | n float32: the number times those at that offset of the file |
| 4, floats | n; e, a byte; n uint16 x | n float32, of the bits (e + x >> 12) << 23 | (x & 4095) << 11 |
| 5, integers | n; b, a byte; n uint16 x | n int32, (x & 4095) << (b + (x >> 12 & 7)), negative with bit 15 |
| 6, copy | n; a distance | the n bytes that are before by the distance, repeated if it is below n |

n, offsets and distances are unsigned LEB128: seven bits a byte, the lowest first, the highest bit set but in
the last. b is at most 12. What products read is no product, and neither is what is copied. `widen.cc` beside
this module does the same in C++.
"""

import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np

IDENTIFIER = b"TFQP"
"""Bytes 4 to 7, where a TFLite file has `TFL3`."""
VERSION = 1
HEADER = struct.Struct("<I4sIII")
MOST_PLACES = 12
PLAIN, ZEROS, CODES, PRODUCTS, FLOATS, INTEGERS, COPY = range(7)


def is_packed(content: bytes) -> bool:
    """Returns whether a file is packed."""
    return content[4:8] == IDENTIFIER


def widen(content: bytes) -> bytes:
    """Returns the TFLite file that a packed file stands for.

    Raises:
        ValueError: If it is damaged, or of another version.
    """
    try:
        return _widened(content)
    except (IndexError, struct.error) as error:
        raise _damaged("the end is missing") from error


def _widened(content: bytes) -> bytes:
    version, identifier, size, checksum, count = HEADER.unpack_from(content)
    if identifier != IDENTIFIER or version != VERSION:
        raise _damaged(f"the beginning is version {version}, {identifier!r}")
    made = bytearray()
    products: list[tuple[int, int, np.float32, int]] = []
    reader = _Reader(content)
    for _ in range(count):
        kind, length = reader.take(1)[0], reader.number()
        if length > size:
            raise _damaged(f"a segment is of kind {kind}, length {length}")
        if kind == PRODUCTS:
            (factor,) = np.frombuffer(reader.take(4), "<f4")
            products.append((len(made), length, factor, reader.number()))
        made += reader.segment(kind, length, made)
    for offset, length, factor, source in products:
        values = np.frombuffer(made[source : source + 4 * length], "<f4") * factor
        made[offset : offset + 4 * length] = values.tobytes()
    if len(made) != size or zlib.crc32(made) != checksum:
        raise _damaged("the checksum is wrong")
    return bytes(made)


class _Reader:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self._offset = HEADER.size

    def take(self, length: int) -> bytes:
        """Returns the next bytes."""
        found = self._content[self._offset : self._offset + length]
        if len(found) != length:
            raise IndexError
        self._offset += length
        return found

    def segment(self, kind: int, length: int, made: bytearray) -> bytes:
        """Returns the bytes of a segment; of products zeros, which these replace.

        Args:
            kind: Its kind.
            length: Its n.
            made: What comes before it.
        """
        readers: dict[int, Callable[[int], bytes]] = {
            PLAIN: self.take,
            ZEROS: bytes,
            CODES: self.codes,
            PRODUCTS: lambda count: bytes(4 * count),
            FLOATS: self.floats,
            INTEGERS: self.integers,
            COPY: lambda count: self.copy(count, made),
        }
        if kind not in readers:
            raise _damaged(f"a segment is of kind {kind}, length {length}")
        return readers[kind](length)

    def number(self) -> int:
        """Returns the number that comes next."""
        return sum((byte & 127) << 7 * index for index, byte in enumerate(self._bytes()))

    def codes(self, count: int) -> bytes:
        """Returns the bytes that the next codes stand for."""
        bits = self.take(1)[0]
        if not 1 <= bits <= 7:
            raise _damaged(f"codes take {bits} bits")
        table = np.frombuffer(self.take(2**bits), np.uint8)
        packed = np.frombuffer(self.take(-(-count * bits // 8)), np.uint8)
        ones = np.unpackbits(packed, bitorder="little")[: count * bits].reshape(count, bits)
        return table[np.packbits(ones, axis=1, bitorder="little")[:, 0]].tobytes()

    def floats(self, count: int) -> bytes:
        """Returns the next float32, whose exponents are near each other."""
        (least,) = self.take(1)
        packed = np.frombuffer(self.take(2 * count), "<u2").astype(np.uint32)
        return ((packed >> 12) + least << 23 | (packed & 4095) << 11).astype("<u4").tobytes()

    def integers(self, count: int) -> bytes:
        """Returns the next int32, of twelve digits each."""
        (least,) = self.take(1)
        if least > MOST_PLACES:
            raise _damaged(f"integers are shifted by {least} bits")
        packed = np.frombuffer(self.take(2 * count), "<u2").astype(np.int64)
        magnitudes = (packed & 4095) << (packed >> 12 & 7) + least
        return np.where(packed >> 15, -magnitudes, magnitudes).astype("<i4").tobytes()

    def copy(self, count: int, made: bytearray) -> bytes:
        """Returns bytes that are there already; where they run into themselves they are repeated."""
        distance = self.number()
        if not 0 < distance <= len(made):
            raise _damaged(f"bytes {distance} before the {len(made)}th are copied")
        start = len(made) - distance
        found = bytes(made[start : start + count])
        return (found * (count // len(found) + 1))[:count] if count else b""

    def _bytes(self) -> Iterator[int]:
        while True:
            (byte,) = self.take(1)
            yield byte
            if byte < 128:
                return


def _damaged(received: str) -> ValueError:
    return ValueError(
        f"A packed file must be whole, and of version {VERSION}. Received: a file in which {received}. "
        "Copy it or export it again."
    )
