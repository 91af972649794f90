"""Batches of images, as every exported file takes them."""

import numpy as np


def checked_images(images: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Returns a batch of images as float32.

    Args:
        images: Pixels in 0..255, uint8 or float32 [N, H, W, C], N ≥ 1.
        shape: (H, W, C).

    Raises:
        TypeError: If `images` has another type of number.
        ValueError: If `images` has another shape.
    """
    images = np.asarray(images)
    if images.dtype not in (np.uint8, np.float32):
        raise TypeError(
            "`images` must be uint8 or float32 pixels in 0..255. "
            f"Received: {images.dtype}. Convert them with images.astype('float32')."
        )
    if images.ndim != 1 + len(shape) or images.shape[1:] != shape or not len(images):
        raise ValueError(
            f"`images` must have the shape [N, {', '.join(map(str, shape))}], N ≥ 1. "
            f"Received: {list(images.shape)}. For one image use images[np.newaxis]."
        )
    return images.astype(np.float32)


def as_codes(values: np.ndarray, type_: np.dtype | type) -> np.ndarray:
    """Returns pixels, float32, as a file takes them that computes with integers alone.

    Args:
        values: Pixels; or other inputs, which are of the type already.
        type_: uint8 for whole pixels, int8 for pixels less 128.
    """
    if values.dtype == type_:
        return values
    codes = np.clip(np.rint(values), 0, 255)
    return (codes - (128 if type_ == np.int8 else 0)).astype(type_)
