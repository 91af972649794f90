"""The size of images: resizing them to a square, and whether a whole set of them fits memory."""

import math
from typing import Any

import psutil


def resize(images: Any, image_size: int) -> Any:
    """Resizes images to a square: bilinear, with antialiasing where they get smaller.

    Args:
      images: uint8 `[H, W, C]` or `[N, H, W, C]`.
      image_size: Side of the square in pixels; 0 leaves the images as they are.

    Returns:
      uint8 `[S, S, C]` or `[N, S, S, C]`.
    """
    if not image_size:
        return images
    from tfqkd.compat import tf  # noqa: PLC0415 (images that keep their size need none)

    resized = tf.image.resize(images, (image_size, image_size), antialias=True)
    return tf.saturate_cast(tf.round(resized), tf.uint8)


def check_memory(name: str, count: int, image_shape: tuple[int, int, int]) -> None:
    """Refuses images that would fill more than half of the memory that is available now.

    Args:
      name: The data set, for the message.
      count: Number of images in all splits.
      image_shape: Height, width and channels; a channel takes one byte.

    Raises:
      ValueError: If they need more.
    """
    needed, available = count * math.prod(image_shape), psutil.virtual_memory().available
    if needed > available / 2:
        raise ValueError(
            "A data set is held in memory and may take half of what is available, "
            f"{available / 2**30:.1f} GiB now. Received: {name!r}, {count} images of "
            f"{image_shape}, {needed / 2**30:.1f} GiB. Set a smaller `image_size`."
        )
