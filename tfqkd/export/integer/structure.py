"""Packs what is between the numbers of a TFLite file: tables, which are much alike."""

from collections.abc import Iterator

from tfqkd.runtime.widening import COPY, PLAIN, ZEROS

_FEWEST_ZEROS = 4
_KEY = 4
_FEWEST_COPIED = 8
"""Bytes: the segment of a copy takes four, and another one of plain bytes behind it two."""
_TRIED = 32
"""Of the places where the same bytes were before, the last so many."""


class Structure:
    """The bytes that are packed as they are, as zeros, or as copies of others.

    Args:
        content: The file.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._places: dict[bytes, list[int]] = {}
        self._ends: dict[int, int] = {}

    def segments(self, start: int, end: int) -> Iterator[bytes]:
        """Yields the segments of the bytes from `start` to `end`, which must come in order.

        Copies are of bytes that were packed here, for others may be made last.
        """
        place = plain = start
        while place < end:
            kind, length, found = self._best(place, end)
            if kind == PLAIN:
                self._remember(place, place + 1, end)
                place += 1
                continue
            yield from self._as_they_are(plain, place)
            yield bytes([kind]) + to_number(length) + found
            self._remember(place, place + length, end)
            place = plain = place + length
        yield from self._as_they_are(plain, end)

    def _as_they_are(self, start: int, end: int) -> Iterator[bytes]:
        if end > start:
            yield bytes([PLAIN]) + to_number(end - start) + self._content[start:end]

    def _best(self, place: int, end: int) -> tuple[int, int, bytes]:
        """Returns the kind, length and rest of the segment that holds most of the next bytes."""
        content = self._content
        zeros = place
        while zeros < end and not content[zeros]:
            zeros += 1
        longest, source = 0, 0
        for before in reversed(self._places.get(content[place : place + _KEY], [])[-_TRIED:]):
            length = self._alike(before, place, end)
            if length > longest:
                longest, source = length, before
        if longest >= _FEWEST_COPIED and longest > zeros - place:
            return COPY, longest, to_number(place - source)
        if zeros - place > _FEWEST_ZEROS:
            return ZEROS, zeros - place, b""
        return PLAIN, 1, b""

    def _alike(self, before: int, place: int, end: int) -> int:
        """Returns how many bytes are the same at two places, up to the end of what was packed here."""
        content, length = self._content, 0
        stop = min(end - place, self._ends[before] - before)
        while length < stop and content[before + length] == content[place + length]:
            length += 1
        return length

    def _remember(self, start: int, stop: int, end: int) -> None:
        for place in range(start, stop):
            if place + _KEY <= end:
                self._places.setdefault(self._content[place : place + _KEY], []).append(place)
                self._ends[place] = end


def to_number(value: int) -> bytes:
    """Returns a number as unsigned LEB128."""
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])
