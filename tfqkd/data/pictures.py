"""Images that are on the disk, and are read when they are asked for, in place of an array in memory."""

import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import numpy as np
from PIL import Image

from tfqkd.storage import digest

_Given = TypeVar("_Given")
_Made = TypeVar("_Made")


class Source(Protocol):
    """Where images are."""

    @property
    def fingerprint(self) -> str:
        """Says which images these are, without reading all of them."""

    def open(self, row: int) -> Image.Image:
        """Returns an image as it is stored."""

    def pixels(self, row: int) -> np.ndarray:
        """Returns an image as a model takes it, uint8 `[H, W, C]`."""


class Pictures:
    """Images of a source, as an array uint8 `[N, H, W, C]` would hold them: `pictures[rows]` are such.

    Args:
      source: Reads them.
      rows: Their numbers in the source, in their order here.
      shape: Height, width and channels of each.
    """

    dtype, ndim = np.dtype(np.uint8), 4

    def __init__(
        self, source: Source, rows: Sequence[int] | np.ndarray, shape: tuple[int, int, int]
    ) -> None:
        self._source, self._rows = source, np.asarray(rows, np.int64)
        self.shape = (len(self._rows), *shape)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def size(self) -> int:
        """Number of pixels of all."""
        return int(np.prod(self.shape))

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 in hex over which images these are; not over their pixels, which would take a pass."""
        return digest(self._source.fingerprint, f"{self.shape}", self._rows.astype("<i8").data)

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Reads images: of an integer `[H, W, C]`, of a slice or an array of rows `[n, H, W, C]`."""
        chosen = self._rows[rows]
        if chosen.ndim == 0:
            return self._source.pixels(int(chosen))
        return np.stack(in_threads(self._source.pixels, chosen.tolist()))

    def take(self, rows: np.ndarray) -> "Pictures":
        """Returns the images at `rows`, still unread."""
        height, width, channels = self.shape[1:]
        return Pictures(self._source, self._rows[rows], (height, width, channels))

    def open(self, row: int) -> Image.Image:
        """Returns an image as it is stored, of whatever size."""
        return self._source.open(int(self._rows[row]))


def in_threads(make: Callable[[_Given], _Made], each: Sequence[_Given]) -> list[_Made]:
    """Returns what is made of each, in several threads."""
    made: dict[int, _Made] = {}
    waiting = enumerate(each)

    # A task for each thread, not for each picture: nobody is woken before all are made.
    def work() -> None:
        for index, given in waiting:
            made[index] = make(given)

    executor, count = _threads()
    for task in [executor.submit(work) for _ in range(count)]:
        task.result()
    return [made[index] for index in range(len(made))]


@functools.cache
def _threads() -> tuple[ThreadPoolExecutor, int]:
    # Pillow decodes and resizes without Python's lock.
    count = len(os.sched_getaffinity(0))
    return ThreadPoolExecutor(count, thread_name_prefix="pictures"), count


def opened(images: "np.ndarray | Pictures", row: int) -> Image.Image:
    """Returns an image of either kind as Pillow has it."""
    if isinstance(images, Pictures):
        return images.open(row)
    return to_image(images[row])


def to_image(pixels: np.ndarray) -> Image.Image:
    """Returns uint8 `[H, W, C]`, C 1 or 3, as a grey or an RGB image."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
