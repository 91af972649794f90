"""Random resized crops, and the box of an evaluation, as functions of seed, epoch and example."""

import numpy as np

from tfqkd.core.views import CROP, FLIP, NUMPY, draw, uniform

_ATTEMPTS = 10


def random_boxes(
    key: int,
    epoch: int,
    examples: np.ndarray,
    sizes: np.ndarray,
    area: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> np.ndarray:
    """Draws a box of each image, whose area and ratio of sides lie between two limits.

    As in Szegedy and others, arXiv 1409.4842, and torchvision's RandomResizedCrop: the share of the area is
    uniform, the ratio of width to height uniform in its logarithm, the place uniform. A box that does not fit
    is drawn again, ten times at most; then it is the largest in the middle with a ratio within the limits.

    Args:
      key: Of the training, 0..2**32-1.
      epoch: Its number.
      examples: Numbers of examples `[n]`.
      sizes: Height and width of each image, integers `[n, 2]`.
      area: The limits of the share of the image's area.
      ratio: Those of width over height.

    Returns:
      Top, left, height and width of each box, int64 `[n, 4]`.
    """
    examples, sizes = np.asarray(examples), np.asarray(sizes, np.int64)
    boxes = _in_the_middle(sizes, ratio)
    waiting = np.arange(len(examples))
    for attempt in range(_ATTEMPTS):
        if not len(waiting):
            break
        parts = [
            uniform(key, (CROP, 4 * attempt + part), epoch, examples[waiting], NUMPY)
            for part in range(4)
        ]
        height, width = sizes[waiting].T
        share = area[0] + (area[1] - area[0]) * parts[0]
        logs = np.log(ratio[0]) + (np.log(ratio[1]) - np.log(ratio[0])) * parts[1]
        pixels = share * height * width
        high = np.rint(np.sqrt(pixels / np.exp(logs))).astype(np.int64)
        wide = np.rint(np.sqrt(pixels * np.exp(logs))).astype(np.int64)
        fits = (high > 0) & (high <= height) & (wide > 0) & (wide <= width)
        top = np.floor(parts[2] * (height - high + 1)).astype(np.int64)
        left = np.floor(parts[3] * (width - wide + 1)).astype(np.int64)
        boxes[waiting[fits]] = np.stack([top, left, high, wide], axis=1)[fits]
        waiting = waiting[~fits]
    return boxes


def random_flips(key: int, epoch: int, examples: np.ndarray) -> np.ndarray:
    """Draws which images are mirrored: each with a chance of a half, bool `[n]`."""
    return (draw(key, FLIP, epoch, np.asarray(examples), NUMPY) & np.uint32(1)).astype(bool)


def _in_the_middle(sizes: np.ndarray, ratio: tuple[float, float]) -> np.ndarray:
    height, width = sizes.T
    wide = np.minimum(width, np.rint(height * ratio[1]).astype(np.int64))
    high = np.minimum(height, np.rint(width / ratio[0]).astype(np.int64))
    return np.stack([(height - high) // 2, (width - wide) // 2, high, wide], axis=1)
