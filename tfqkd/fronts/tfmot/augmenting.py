"""Random crops and flips in TensorFlow, drawn by example and epoch so that any of them can be drawn again."""

from tfqkd.compat import tf
from tfqkd.core.views import draw_numbers
from tfqkd.data.augmentation import Augmentation
from tfqkd.fronts.tfmot.uint32 import TENSORFLOW


def draw_views(
    count: int, seed: int, view: int | tf.Tensor, augmentation: Augmentation
) -> tf.Tensor:
    """Draws one view for each of `count` examples, all views being equally likely.

    The table is a pure function of the arguments, on every device and in every array library
    (`tfqkd.core.views`): row `i` is how example `i` of the training split looks the `view`-th time.

    Args:
      count: Number of examples.
      seed: 0..2**32-1.
      view: Number of the table, such as the epoch; an int or an int scalar tensor.
      augmentation: What may be drawn.

    Returns:
      int32 `[count, 3]`, rows (dy, dx, flip) with offsets in 0..2·padding and flip in {0, 1}.
    """
    drawn = draw_numbers(seed, view, tf.range(count), augmentation.views, TENSORFLOW)
    number = tf.cast(drawn, tf.int32)
    offsets = 2 * augmentation.padding + 1
    cell = number % offsets**2
    return tf.stack([cell // offsets, cell % offsets, number // offsets**2], axis=1)


def augment(images: tf.Tensor, views: tf.Tensor, padding: int) -> tf.Tensor:
    """Shows each image in its view: pads with zeros, crops at (dy, dx), then mirrors if flip is 1.

    Args:
      images: `[B, H, W, C]`, usually uint8.
      views: int32 `[B, 3]`, rows (dy, dx, flip) as `draw_views` gives them.
      padding: Zero pixels on each side; offsets are 0..2·padding, and (padding, padding) is the
        image in its place.

    Returns:
      `[B, H, W, C]` of the dtype of `images`.
    """
    dy, dx, flip = tf.unstack(views[:, :, tf.newaxis], axis=1)
    height, width = tf.shape(images)[1], tf.shape(images)[2]
    if padding:
        images = tf.pad(images, [[0, 0], [padding, padding], [padding, padding], [0, 0]])
        images = tf.gather(images, dy + tf.range(height), axis=1, batch_dims=1)
    columns = dx + tf.where(flip == 1, width - 1 - tf.range(width), tf.range(width))
    return tf.gather(images, columns, axis=2, batch_dims=1)
