"""The batches of a training as NumPy arrays: pure functions of seed, epoch, step and example."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tfqkd.core.mixup import mixed
from tfqkd.core.views import NUMPY, draw_order
from tfqkd.data.augmentation import Augmentation
from tfqkd.data.batches import FIXED_VIEWS_SEED, require_repeatable, steps_per_epoch
from tfqkd.data.images import Split
from tfqkd.data.varied import varied_images


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

    def __post_init__(self) -> None:
        require_repeatable(self.augmentation, self.fixed_views)

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
        number = epoch % self.fixed_views if self.fixed_views else epoch
        seed = FIXED_VIEWS_SEED if self.fixed_views else self.seed
        images = varied_images(self.split.images, rows, seed, number, self.augmentation)
        labels = np.eye(self.classes, dtype=np.float32)[self.split.labels[rows]]
        if self.augmentation.mixup:
            images, labels = mixed(images, labels, seed, number, rows, self.augmentation.mixup)
        if not self.teacher_logits:
            return images, labels
        said = np.asarray(self.teacher_logits[number][rows], np.float32)
        return (images, said), labels

    def of(self, epoch: int) -> Iterator[tuple[Any, np.ndarray]]:
        """Yields the batches of an epoch."""
        for rows in self.order(epoch):
            yield self.batch(epoch, rows)
