"""Packs what is between the numbers of a TFLite file: tables, which are much alike."""

from collections.abc import Iterator

from tfqkd.runtime.widening import COPY, PLAIN, ZEROS

_FEWEST_ZEROS = 4
_KEY = 4
_FEWEST_COPIED = 8
"""Bytes: the segment of a copy takes four, and another one of plain bytes behind it two."""
_TRIED = 32
"""Of the offsets where the same bytes were before, the last so many."""


class Structure:
    """The bytes that are packed as they are, as zeros, or as copies of others.

    Args:
        content: The file.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._offsets: dict[bytes, list[int]] = {}
        self._ends: dict[int, int] = {}

    def segments(self, start: int, end: int) -> Iterator[bytes]:
        """Yields the segments of the bytes from `start` to `end`, which must come in order.

        Copies are of bytes that were packed here, for others may be made last.
        """
        offset = plain = start
        while offset < end:
            kind, length, found = self._best(offset, end)
            if kind == PLAIN:
                self._remember(offset, offset + 1, end)
                offset += 1
                continue
            yield from self._as_they_are(plain, offset)
            yield bytes([kind]) + to_number(length) + found
            self._remember(offset, offset + length, end)
            offset = plain = offset + length
        yield from self._as_they_are(plain, end)

    def _as_they_are(self, start: int, end: int) -> Iterator[bytes]:
        if end > start:
            yield bytes([PLAIN]) + to_number(end - start) + self._content[start:end]

    def _best(self, offset: int, end: int) -> tuple[int, int, bytes]:
        """Returns the kind, length and rest of the segment that holds most of the next bytes."""
        content = self._content
        zeros = offset
        while zeros < end and not content[zeros]:
            zeros += 1
        longest, source = 0, 0
        for before in reversed(self._offsets.get(content[offset : offset + _KEY], [])[-_TRIED:]):
            length = self._alike(before, offset, end)
            if length > longest:
                longest, source = length, before
        if longest >= _FEWEST_COPIED and longest > zeros - offset:
            return COPY, longest, to_number(offset - source)
        if zeros - offset > _FEWEST_ZEROS:
            return ZEROS, zeros - offset, b""
        return PLAIN, 1, b""

    def _alike(self, before: int, offset: int, end: int) -> int:
        """Returns how many bytes are the same at two offsets, up to the end of what was packed here."""
        content, length = self._content, 0
        stop = min(end - offset, self._ends[before] - before)
        while length < stop and content[before + length] == content[offset + length]:
            length += 1
        return length

    def _remember(self, start: int, stop: int, end: int) -> None:
        for offset in range(start, stop):
            if offset + _KEY <= end:
                self._offsets.setdefault(self._content[offset : offset + _KEY], []).append(offset)
                self._ends[offset] = end


def to_number(value: int) -> bytes:
    """Returns a number as unsigned LEB128."""
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])
