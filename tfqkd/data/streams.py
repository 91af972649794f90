"""Batches of image files that need not fit memory: decoded as they are asked for, in several threads.

What a batch holds is a function of seed, epoch and step: a training goes on in the middle of an epoch by
asking for the next step, and workers decode only what is theirs.
"""

import dataclasses
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from tfqkd.core.crops import random_boxes, random_flips
from tfqkd.core.views import NUMPY, draw_order
from tfqkd.runtime.pictures import open_picture, to_pixels

_AHEAD = 2  # Batches that are decoded while one is used.


@dataclasses.dataclass(frozen=True)
class StreamBatch:
    """The part of a batch that one worker trains on.

    Attributes:
      images: uint8 `[n, H, W, C]`.
      labels: int64 `[n]`.
      examples: Their numbers, int64 `[n]`.
    """

    images: np.ndarray
    labels: np.ndarray
    examples: np.ndarray


@dataclasses.dataclass(frozen=True)
class FileStream:
    """Image files as batches.

    Attributes:
      paths: The files.
      labels: Their classes, int64 `[n]`.
      shape: Height, width and channels of the images.
      batch_size: Examples in a batch of all workers together.
      seed: Draws order and views, 0..2**32-1.
      worker: Number of this worker.
      workers: How many there are; each has every `workers`-th example of a batch.
      threads: How many decode.

    Raises:
      ValueError: If a batch is larger than the data, or cannot be shared evenly by the workers.
    """

    paths: Sequence[Path]
    labels: np.ndarray
    shape: tuple[int, int, int]
    batch_size: int
    seed: int = 0
    worker: int = 0
    workers: int = 1
    threads: int = os.cpu_count() or 1

    def __post_init__(self) -> None:
        if not 0 < self.batch_size <= len(self.paths) or self.batch_size % self.workers:
            raise ValueError(
                "`batch_size` must be at most the number of images, and a multiple of the workers. Received: "
                f"batch_size={self.batch_size}, {len(self.paths)} images, {self.workers} workers. Choose "
                "another."
            )

    def __len__(self) -> int:
        """Returns the steps of an epoch; what is left over is in none of them."""
        return len(self.paths) // self.batch_size

    def training(self, epoch: int, first_step: int = 0) -> Iterator[StreamBatch]:
        """Yields the batches of an epoch, each image cropped, resized and mirrored by chance.

        Args:
          epoch: Its number.
          first_step: Where to begin: the steps before are not decoded.
        """
        order = np.asarray(draw_order(self.seed, epoch, np.arange(len(self.paths)), NUMPY))
        steps = [self._share(order, step) for step in range(first_step, len(self))]
        yield from self._decoded(steps, epoch)

    def evaluation(self) -> Iterator[StreamBatch]:
        """Yields all images in their order, resized by their shorter side and cropped in the middle."""
        examples = np.arange(len(self.paths))
        steps = [
            examples[start + self.worker : start + self.batch_size : self.workers]
            for start in range(0, len(examples), self.batch_size)
        ]
        yield from self._decoded([step for step in steps if len(step)], None)

    def _share(self, order: np.ndarray, step: int) -> np.ndarray:
        start = step * self.batch_size
        return order[start + self.worker : start + self.batch_size : self.workers]

    def _decoded(self, steps: Sequence[np.ndarray], epoch: int | None) -> Iterator[StreamBatch]:
        waiting: deque[tuple[np.ndarray, list[Future[np.ndarray]]]] = deque()
        with ThreadPoolExecutor(self.threads) as executor:
            try:
                for examples in steps:
                    futures = [executor.submit(self._image, int(e), epoch) for e in examples]
                    waiting.append((examples, futures))
                    if len(waiting) > _AHEAD:
                        yield self._batch(*waiting.popleft())
                while waiting:
                    yield self._batch(*waiting.popleft())
            finally:
                # A reader that stops early leaves nothing to be decoded.
                for _, futures in waiting:
                    for future in futures:
                        future.cancel()

    def _batch(self, examples: np.ndarray, futures: Sequence[Future]) -> StreamBatch:
        images = np.stack([future.result() for future in futures])
        return StreamBatch(images, self.labels[examples], examples)

    def _image(self, example: int, epoch: int | None) -> np.ndarray:
        image = open_picture(self.paths[example])
        if epoch is None:
            return to_pixels(image.crop(_middle(image.size, self.shape)), self.shape)
        one = np.array([example])
        sizes = np.array([[image.height, image.width]])
        ((top, left, height, width),) = random_boxes(self.seed, epoch, one, sizes)
        image = image.crop((left, top, left + width, top + height))
        if random_flips(self.seed, epoch, one)[0]:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return to_pixels(image, self.shape)


def _middle(size: tuple[int, int], shape: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """The box in the middle with the proportions that are asked for: left, top, right, bottom."""
    width, height = size
    wanted = shape[1] / shape[0]
    wide, high = min(width, round(height * wanted)), min(height, round(width / wanted))
    left, top = (width - wide) // 2, (height - high) // 2
    return left, top, left + wide, top + high
