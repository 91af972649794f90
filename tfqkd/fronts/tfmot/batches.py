"""Batches for training, which can be resumed at any step, and for evaluation, as `tf.data`."""

from collections.abc import Sequence
from typing import Any

from tfqkd.compat import tf
from tfqkd.core.views import draw_order
from tfqkd.data.augmentation import Augmentation
from tfqkd.data.batches import FIXED_VIEWS_SEED, require_repeatable, steps_per_epoch
from tfqkd.data.epochs import Epochs
from tfqkd.data.images import Split
from tfqkd.fronts.tfmot.augmenting import augment, draw_views
from tfqkd.fronts.tfmot.host_batches import Share, made_on_host, read_on_host, said_of
from tfqkd.fronts.tfmot.uint32 import TENSORFLOW

_AHEAD = 2  # Batches of images that are read from the disk while one is trained on.


def training_batches(
    split: Split,
    *,
    batch_size: int,
    classes: int,
    seed: int,
    augmentation: Augmentation,
    epochs: int,
    first_epoch: int = 0,
    first_step: int = 0,
    fixed_views: int = 0,
    teacher_logits: Sequence[tf.Tensor] = (),
    share: Share | None = None,
) -> tf.data.Dataset:
    """Builds one long stream of batches over the epochs `first_epoch` to `epochs - 1`.

    Order and views are pure functions of (`seed`, epoch): a stream that starts at (`first_epoch`,
    `first_step`) goes on exactly as an uninterrupted one. Each epoch shows every image at most
    once, in a new order and view, in full batches; the images that are left over are others in
    each epoch.

    With `fixed_views` V, epoch `e` shows every image in view `e` mod V, one of V that do not depend
    on `seed`. What a teacher says about them can be kept (`tfqkd.TeacherCache`) and goes along.

    Args:
      split: Images to train on. Arrays are held in memory once; `Pictures` are read two batches ahead, in
        several threads.
      batch_size: Images in a batch, over all replicas.
      classes: Number of classes.
      seed: 0..2**32-1.
      augmentation: How images are varied; by padding and flips epoch `e` shows
        `draw_views(len(split), seed, e, ...)`, or `draw_views(len(split), FIXED_VIEWS_SEED, e % V, ...)` with
        V fixed views.
      epochs: Number of epochs of the whole training.
      first_epoch: Epoch to start in, 0..epochs-1.
      first_step: Batches of that epoch to skip; their images are not touched.
      fixed_views: V, how many views of each image are repeated; 0 for new ones in every epoch.
      teacher_logits: For each of the V views, logits `[len(split), classes]` in stored order.
      share: A worker's parts of each batch, of `Pictures` alone: the others are not read. All by default.

    Returns:
      A dataset of (uint8 images `[B, H, W, C]`, float32 one-hot labels `[B, classes]`); with
      `teacher_logits`, of ((images, logits `[B, classes]`), labels).

    Raises:
      ValueError: If an argument is out of its range.
    """
    steps = steps_per_epoch(split, batch_size)
    _check_stream(seed, epochs, first_epoch, steps, first_step)
    _check_views(fixed_views, teacher_logits, (len(split), classes))
    require_repeatable(augmentation, fixed_views)
    if split.is_streamed or not augmentation.is_plain:
        made = Epochs(split, batch_size, classes, seed, augmentation, fixed_views)
        steps_of_all = range(first_epoch * steps + first_step, epochs * steps)
        return _finish(made_on_host(made, steps_of_all, teacher_logits, share or Share()), _AHEAD)
    count = len(split)
    images, labels = _in_memory(split)
    augmented = augmentation != Augmentation.NONE

    # Nothing here branches on a tensor, and AutoGraph would take a second to find that out.
    @tf.autograph.experimental.do_not_convert
    def epoch_rows(epoch: tf.Tensor) -> tf.data.Dataset:
        order = draw_order(seed, epoch, tf.range(count), TENSORFLOW)
        order = tf.reshape(order[: steps * batch_size], [steps, batch_size])
        number = epoch % fixed_views if fixed_views else epoch
        views = draw_views(count, FIXED_VIEWS_SEED if fixed_views else seed, number, augmentation)
        numbers = tf.fill([steps], tf.cast(number, tf.int32))
        return tf.data.Dataset.from_tensor_slices((order, tf.gather(views, order), numbers))

    @tf.autograph.experimental.do_not_convert
    def batch(rows: tf.Tensor, views: tf.Tensor, number: tf.Tensor) -> tuple[Any, tf.Tensor]:
        pixels = tf.gather(images, rows)
        if augmented:
            pixels = augment(pixels, views, augmentation.padding)
        pixels = tf.ensure_shape(pixels, [batch_size, *split.images.shape[1:]])
        targets = tf.one_hot(tf.gather(labels, rows), classes)
        if not teacher_logits:
            return pixels, targets
        return (pixels, said_of(teacher_logits, number, rows)), targets

    rows = tf.data.Dataset.range(first_epoch, epochs).flat_map(epoch_rows).skip(first_step)
    stream = rows.map(batch, num_parallel_calls=tf.data.AUTOTUNE)
    cardinality = (epochs - first_epoch) * steps - first_step
    stream = stream.apply(tf.data.experimental.assert_cardinality(cardinality))
    return _finish(stream)


def evaluation_batches(split: Split, *, batch_size: int, classes: int) -> tf.data.Dataset:
    """Builds batches of all images in stored order; the last one may be smaller.

    Args:
      split: Images to evaluate on, in memory or read when they are asked for.
      batch_size: Images in a batch, over all replicas; at least 1.
      classes: Number of classes.

    Returns:
      A dataset of (uint8 images `[B, H, W, C]`, float32 one-hot labels `[B, classes]`).

    Raises:
      ValueError: If `batch_size` is below 1.
    """
    if batch_size < 1:
        raise ValueError(
            f"`batch_size` must be at least 1. Received: batch_size={batch_size}. Use 1 or more."
        )
    starts = tf.data.Dataset.range(0, len(split), batch_size)
    if split.is_streamed:
        return _finish(read_on_host(starts, split, batch_size, classes), _AHEAD)
    images, labels = _in_memory(split)

    def batch(start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        rows = slice(start, start + batch_size)
        return images[rows], tf.one_hot(labels[rows], classes)

    return _finish(starts.map(batch, num_parallel_calls=tf.data.AUTOTUNE))


def _in_memory(split: Split) -> tuple[tf.Tensor, tf.Tensor]:
    """Makes tensors that a map function captures: not copied into its graph, nor to a GPU."""
    with tf.device("CPU:0"):
        return tf.convert_to_tensor(split.images), tf.convert_to_tensor(split.labels)


def _finish(batches: tf.data.Dataset, ahead: int = tf.data.AUTOTUNE) -> tf.data.Dataset:
    options = tf.data.Options()
    options.deterministic = True
    # Each worker has all images in memory and makes every batch: it takes its share of each. Were sharding
    # off, every worker would see all shares of a batch, one a step.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return batches.prefetch(ahead).with_options(options)


def _check_stream(seed: int, epochs: int, first_epoch: int, steps: int, first_step: int) -> None:
    for name, value, low, high in (
        ("seed", seed, 0, 2**32 - 1),
        ("epochs", epochs, 1, 2**31 - 1),
        ("first_epoch", first_epoch, 0, epochs - 1),
        ("first_step", first_step, 0, steps - 1),
    ):
        if not low <= value <= high:
            raise ValueError(
                f"`{name}` must be {low} to {high}. Received: {name}={value} with epochs={epochs} "
                f"of {steps} steps. Choose a value in this range."
            )


def _check_views(
    fixed_views: int, teacher_logits: Sequence[tf.Tensor], shape: tuple[int, int]
) -> None:
    if fixed_views < 0:
        raise ValueError(
            "`fixed_views` must be a number of views, 0 for new ones in every epoch. "
            f"Received: fixed_views={fixed_views}."
        )
    shapes = [tuple(logits.shape) for logits in teacher_logits]
    if shapes and shapes != [shape] * fixed_views:
        raise ValueError(
            f"`teacher_logits` must hold logits {list(shape)} for each of the {fixed_views} views. "
            f"Received: {len(shapes)} of shapes {sorted(set(shapes))}. Build them for this split."
        )
