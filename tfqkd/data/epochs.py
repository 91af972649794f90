"""The batches of a training as NumPy arrays: pure functions of seed, epoch, step and example."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tfqkd.core.views import NUMPY, draw_numbers, draw_order
from tfqkd.data.augmentation import Augmentation
from tfqkd.data.batches import FIXED_VIEWS_SEED, steps_per_epoch
from tfqkd.data.images import Split


def show(images: np.ndarray, views: np.ndarray, padding: int) -> np.ndarray:
    """Returns images in their views: cropped behind zero padding, and mirrored.

    View `v` of `(2p + 1)²` or twice as many begins its crop at row `v mod (2p + 1)² div (2p + 1)` and column
    `v mod (2p + 1)` of the padded image, and is mirrored from `(2p + 1)²` on.

    Args:
        images: `[n, H, W, C]`.
        views: Whole numbers `[n]`.
        padding: `p`, 0 or more.
    """
    offsets = 2 * padding + 1
    flips, cells = np.divmod(np.asarray(views).astype(np.int64)[:, None], offsets**2)
    height, width = images.shape[1:3]
    lines, columns = np.arange(height), np.arange(width)
    y = cells // offsets + lines - padding
    x = cells % offsets + np.where(flips == 1, width - 1 - columns, columns) - padding
    rows = np.arange(len(images))[:, None, None]
    shown = images[rows, y.clip(0, height - 1)[:, :, None], x.clip(0, width - 1)[:, None, :]]
    inside = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None, :]
    shown[~inside] = 0
    return shown


@dataclasses.dataclass(frozen=True)
class Epochs:
    """The batches of all epochs: those that the tfmot front makes with tf.data, in the same order.

    Attributes:
        split: Images to train on.
        batch_size: Images in a batch.
        classes: Number of classes.
        seed: 0..2**32-1.
        augmentation: How images are varied.
        fixed_views: V, how many views of each image are repeated; 0 for new ones in every epoch.
        teacher_logits: For each of the V views, logits `[len(split), classes]` in stored order.
    """

    split: Split
    batch_size: int
    classes: int
    seed: int
    augmentation: Augmentation
    fixed_views: int = 0
    teacher_logits: Sequence[Any] = ()

    @property
    def steps(self) -> int:
        """Full batches in an epoch."""
        return steps_per_epoch(self.split, self.batch_size)

    def order(self, epoch: int) -> np.ndarray:
        """Returns the numbers of the examples of an epoch, `[steps, batch_size]`."""
        order = draw_order(self.seed, epoch, np.arange(len(self.split)), NUMPY)
        return order[: self.steps * self.batch_size].reshape(self.steps, self.batch_size)

    def batch(self, epoch: int, rows: np.ndarray) -> tuple[Any, np.ndarray]:
        """Returns images, or `(images, teacher's logits)`, and one-hot labels, float32.

        Args:
            epoch: In whose views they are shown.
            rows: Numbers of examples.
        """
        images = self.split.images[rows]
        number = epoch % self.fixed_views if self.fixed_views else epoch
        if self.augmentation != Augmentation.NONE:
            seed = FIXED_VIEWS_SEED if self.fixed_views else self.seed
            views = draw_numbers(seed, number, rows, self.augmentation.views, NUMPY)
            images = show(images, views, self.augmentation.padding)
        labels = np.eye(self.classes, dtype=np.float32)[self.split.labels[rows]]
        if not self.teacher_logits:
            return images, labels
        said = np.asarray(self.teacher_logits[number][rows], np.float32)
        return (images, said), labels

    def of(self, epoch: int) -> Iterator[tuple[Any, np.ndarray]]:
        """Yields the batches of an epoch."""
        for rows in self.order(epoch):
            yield self.batch(epoch, rows)
