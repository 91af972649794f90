"""The size of images: how it is given, and whether a whole set of them fits memory."""

import math
import re

import psutil


def plain_size(image_size: int | str) -> int | str:
    """Returns an image size in its one form, so that the same size is known as the same.

    Args:
      image_size: A number of pixels, or text: `32`, or `24x32` for height 24 and width 32.

    Returns:
      A number for a square (0: as stored), else text `HEIGHTxWIDTH`.

    Raises:
      ValueError: If the text is neither.
    """
    if not isinstance(image_size, str):
        return image_size
    match = re.fullmatch(r"(-?[0-9]{1,9})|([1-9][0-9]{0,8})x([1-9][0-9]{0,8})", image_size)
    if not match:
        raise ValueError(
            "`image_size` must be 0 or more pixels, or HEIGHTxWIDTH. "
            f"Received: image_size={image_size}. For example 32, or 24x32."
        )
    square, height, width = match.groups()
    if square or height == width:
        return int(square or height)
    return image_size


def sides(image_size: int | str) -> tuple[int, int] | None:
    """Returns height and width of an image size; None for 0, which leaves images as they are.

    Raises:
      ValueError: If it is no size.
    """
    size = plain_size(image_size)
    if isinstance(size, str):
        height, width = map(int, size.split("x"))
        return height, width
    if size < 0:
        raise ValueError(
            "`image_size` must be a number of pixels, or HEIGHTxWIDTH. "
            f"Received: image_size={size}. Use 0 for the size that is stored."
        )
    return (size, size) if size else None


def is_streamed(stream: str, name: str, count: int, image_shape: tuple[int, int, int]) -> bool:
    """Returns whether images are read when they are asked for, not held in memory.

    Args:
      stream: "on", "off", or "auto": where they would fill more than half of the memory that is available.
      name: The data set, for the message.
      count: Number of images in all splits.
      image_shape: Height, width and channels; a channel takes one byte.

    Raises:
      ValueError: If it is "off", and they would fill more than half.
    """
    needed, available = count * math.prod(image_shape), psutil.virtual_memory().available
    if stream == "off" and needed > available / 2:
        raise ValueError(
            "A data set that is held in memory may take half of what is available, "
            f"{available / 2**30:.1f} GiB now. Received: {name!r}, {count} images of {image_shape}, "
            f"{needed / 2**30:.1f} GiB, with stream=off. Set a smaller `image_size`, or stream=auto."
        )
    return stream == "on" or needed > available / 2
