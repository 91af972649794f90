"""Crops behind zero padding, and mirror images, of NumPy arrays."""

import numpy as np


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
