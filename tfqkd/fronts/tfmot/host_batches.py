"""Batches that NumPy and Pillow make, as `tf.data`: images from the disk, and what tensors do not vary."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from tfqkd.compat import tf
from tfqkd.data.epochs import Epochs
from tfqkd.data.images import Split

_AT_ONCE = 2  # Batches in the making; each is made by all threads.


@dataclasses.dataclass(frozen=True)
class Share:
    """What a worker trains on of each batch, which is cut into a part for each replica.

    Worker w of n has the parts w, w + n, w + 2n and so on, as tf.distribute shares whole batches.

    Attributes:
      worker: Its number.
      workers: How many there are.
      replicas: Of all workers.
    """

    worker: int = 0
    workers: int = 1
    replicas: int = 1

    @property
    def parts(self) -> range:
        """Numbers of the parts."""
        return range(self.worker, self.replicas, self.workers)


def made_on_host(
    epochs: Epochs,
    steps: range,
    teacher_logits: Sequence[tf.Tensor] = (),
    share: Share = Share(),
) -> tf.data.Dataset:
    """Returns training batches, as `batches.training_batches` does, or a worker's parts of them.

    Args:
      epochs: Makes them.
      steps: Of the whole training: those that are made.
      teacher_logits: As for `training_batches`.
      share: Which parts of a batch are made, one after the other; others are not read.

    Raises:
      ValueError: If images are mixed with their neighbours, and a part would end between two.
    """
    order = functools.lru_cache(maxsize=2)(epochs.order)
    count, parts = epochs.steps, share.parts
    size = epochs.batch_size // share.replicas
    if epochs.augmentation.mixup and size % 2 and share.replicas > 1:
        raise ValueError(
            "Each replica's part of a batch must be of an even size, to be mixed within it. Received: "
            f"batch_size={epochs.batch_size} for {share.replicas} replicas. Choose another batch_size."
        )

    def make(number: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        step, part = divmod(int(number), len(parts))
        epoch, step = divmod(step, count)
        rows = order(epoch)[step][parts[part] * size : (parts[part] + 1) * size]
        images, labels = epochs.batch(epoch, rows)
        return images, labels, rows

    shape = (size, *epochs.split.images.shape[1:])

    @tf.autograph.experimental.do_not_convert
    def batch(number: tf.Tensor) -> tuple:
        kinds = (tf.uint8, tf.float32, tf.int64)
        images, labels, rows = tf.numpy_function(make, [number], kinds, stateful=False)
        images = tf.ensure_shape(images, shape)
        labels = tf.ensure_shape(labels, [shape[0], epochs.classes])
        if not teacher_logits:
            return images, labels
        view = (number // (count * len(parts))) % epochs.fixed_views
        rows = tf.ensure_shape(rows, shape[:1])
        return (images, said_of(teacher_logits, tf.cast(view, tf.int32), rows)), labels

    numbers = tf.data.Dataset.range(steps.start * len(parts), steps.stop * len(parts))
    return numbers.map(batch, num_parallel_calls=_AT_ONCE)


def read_on_host(
    starts: tf.data.Dataset, split: Split, batch_size: int, classes: int
) -> tf.data.Dataset:
    """Returns batches of images in stored order, as `batches.evaluation_batches` does.

    Args:
      starts: Where each batch begins.
      split: The images.
      batch_size: Of all but the last.
      classes: Number of classes.
    """

    def read(start: np.ndarray) -> np.ndarray:
        return split.images[int(start) : int(start) + batch_size]

    labels = tf.constant(split.labels)

    @tf.autograph.experimental.do_not_convert
    def batch(start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images = tf.numpy_function(read, [start], tf.uint8, stateful=False)
        images = tf.ensure_shape(images, [None, *split.images.shape[1:]])
        return images, tf.one_hot(labels[start : start + batch_size], classes)

    return starts.map(batch, num_parallel_calls=_AT_ONCE)


def said_of(teacher_logits: Sequence[tf.Tensor], number: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Returns the logits of one view: a branch for each, for one tensor of all would copy what is mapped."""
    branches = [functools.partial(tf.gather, logits, rows) for logits in teacher_logits]
    return tf.switch_case(number, branches)
