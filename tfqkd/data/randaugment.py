"""RandAugment: random operations on an image, as functions of seed, epoch and example.

The operations of E. Cubuk and others, arXiv 1909.13719, table 1, over the ranges that torchvision's
RandAugment has for magnitudes 0 to 30.
"""

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from tfqkd.core.views import NUMPY, OPERATION, draw
from tfqkd.data.augmentation import MAGNITUDES

_Operation = Callable[[Image.Image, float], Image.Image]


def _moved(image: Image.Image, x: tuple[float, float], y: tuple[float, float]) -> Image.Image:
    """Each pixel from `(X + x0·Y + x1, y0·X + Y + y1)`; black where there is none."""
    matrix = (1, x[0], x[1], y[0], 1, y[1])
    return image.transform(image.size, Image.Transform.AFFINE, matrix)


def _enhanced(kind: Callable[[Image.Image], ImageEnhance._Enhance]) -> _Operation:
    return lambda image, strength: kind(image).enhance(1 + strength)


_OPERATIONS: tuple[tuple[_Operation, float, bool], ...] = (
    (lambda image, _: image, 0, False),
    (lambda image, _: ImageOps.autocontrast(image), 0, False),
    (lambda image, _: ImageOps.equalize(image), 0, False),
    (lambda image, strength: ImageOps.solarize(image, round(255 - strength)), 255, False),
    (lambda image, strength: ImageOps.posterize(image, 8 - round(strength)), 4, False),
    (lambda image, strength: image.rotate(strength), 30, True),
    (_enhanced(ImageEnhance.Color), 0.9, True),
    (_enhanced(ImageEnhance.Contrast), 0.9, True),
    (_enhanced(ImageEnhance.Brightness), 0.9, True),
    (_enhanced(ImageEnhance.Sharpness), 0.9, True),
    (lambda image, strength: _moved(image, (strength, 0), (0, 0)), 0.3, True),
    (lambda image, strength: _moved(image, (0, 0), (strength, 0)), 0.3, True),
    (lambda image, strength: _moved(image, (0, strength * image.width), (0, 0)), 150 / 331, True),
    (lambda image, strength: _moved(image, (0, 0), (0, strength * image.height)), 150 / 331, True),
)
"""Each with its strength at the largest magnitude, which falls to 0 with it, and whether it has two signs."""


def random_operations(key: int, epoch: int, examples: np.ndarray, count: int) -> np.ndarray:
    """Draws the operations of each example: twice the number of one, plus 1 if its strength is negative.

    Args:
      key: Of the training, 0..2**32-1.
      epoch: Its number.
      examples: Numbers of examples `[n]`.
      count: Operations of each.

    Returns:
      int64 `[n, count]`.
    """
    drawn = [
        draw(key, OPERATION + index, epoch, np.asarray(examples), NUMPY) for index in range(count)
    ]
    return np.stack(drawn, axis=1).astype(np.int64) % (2 * len(_OPERATIONS))


def varied(image: Image.Image, operations: Sequence[int], magnitude: int) -> Image.Image:
    """Returns an image after operations that were drawn for it.

    Args:
      image: Grey or RGB.
      operations: Of `random_operations`.
      magnitude: 0 to 30.
    """
    for number in operations:
        operation, strongest, signed = _OPERATIONS[number // 2]
        strength = strongest * magnitude / (MAGNITUDES - 1)
        image = operation(image, -strength if signed and number % 2 else strength)
    return image
