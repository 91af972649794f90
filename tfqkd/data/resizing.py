"""Images of another size, to the pixels of TensorFlow and without it."""

import functools

import numpy as np

from tfqkd.data.sizing import sides
from tfqkd.runtime.pictures import middle


def resize(images: np.ndarray, image_size: int | str, centre_crop: bool = False) -> np.ndarray:
    """Resizes images: bilinear, with antialiasing where they get smaller.

    A new pixel is the mean of the old ones around its centre, weighed by a triangle whose radius is one old
    pixel, or one new pixel where that is larger. The float32 arithmetic is that of
    `tf.image.resize(images, size, antialias=True)`, rows before columns, so that its pixels come out.

    Args:
      images: uint8 `[H, W, C]` or `[N, H, W, C]`.
      image_size: As for `plain_size`; 0 leaves the images as they are.
      centre_crop: Whether the part in the middle that has the new proportions is resized, not the whole.

    Returns:
      uint8 `[H', W', C]` or `[N, H', W', C]`.
    """
    size = sides(image_size)
    if size is None:
        return images
    if centre_crop:
        top, left, high, wide = middle(images.shape[-3:-1], size)
        images = images[..., top : top + high, left : left + wide, :]
    *_, height, width, _ = images.shape
    rows = _gathered(images.astype(np.float32), _spans(height, size[0]), -3)
    resized = _gathered(rows, _spans(width, size[1]), -2)
    return np.rint(resized).clip(0, 255).astype(np.uint8)


def _spans(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the old pixels `[new, most]` that a new one is made of, and what each weighs, float32."""
    one, half = np.float32(1), np.float32(0.5)
    inverse = one / (np.float32(new) / np.float32(old))
    radius = max(inverse, one)
    centres = (np.arange(new, dtype=np.float32) + half) * inverse
    first = np.ceil(centres - radius - half).clip(0, old - 1).astype(np.int64)
    last = np.floor(centres + radius - half).clip(0, old - 1).astype(np.int64)
    taken = first[:, None] + np.arange((last - first).max() + 1)
    distances = np.abs((taken.astype(np.float32) + half) - centres[:, None]) * (one / radius)
    weights = np.where(taken <= last[:, None], np.maximum(one - distances, np.float32(0)), 0)
    total = functools.reduce(np.add, weights.astype(np.float32).T)
    return taken.clip(0, old - 1), weights.astype(np.float32) * (one / total)[:, None]


def _gathered(values: np.ndarray, spans: tuple[np.ndarray, np.ndarray], axis: int) -> np.ndarray:
    """Returns the weighed sums of what is along an axis, one term after the other."""
    taken, weights = spans
    shape = [1] * values.ndim
    shape[axis] = -1
    terms = (
        values.take(rows, axis) * weight.reshape(shape)
        for rows, weight in zip(taken.T, weights.T, strict=True)
    )
    return functools.reduce(np.add, terms)
