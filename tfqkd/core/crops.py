"""Random resized crops, and the box of an evaluation, as functions of seed, epoch and example."""

import math

import numpy as np

from tfqkd.core.views import CROP, FLIP, NUMPY, draw, uniform

_ATTEMPTS = 10


class RandomBoxes:
    """A random box for each example, whatever the size of its image turns out to be.

    As in Szegedy and others, arXiv 1409.4842, and torchvision's RandomResizedCrop: the share of the area is
    uniform, the ratio of width to height uniform in its logarithm, the place uniform. A box that does not fit
    is drawn again, ten times at most; then it is the largest in the middle with a ratio within the limits.

    Args:
      key: Of the training, 0..2**32-1.
      epoch: Its number.
      examples: Numbers of examples `[n]`.
      area: The limits of the share of the image's area.
      ratio: Those of width over height.
    """

    def __init__(
        self,
        key: int,
        epoch: int,
        examples: np.ndarray,
        area: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
    ) -> None:
        purposes = np.arange(4 * _ATTEMPTS, dtype=np.uint32)[:, None]
        drawn = uniform(key, (CROP, purposes), epoch, np.asarray(examples)[None], NUMPY)
        parts = drawn.reshape(_ATTEMPTS, 4, -1)
        parts[:, 0] = area[0] + (area[1] - area[0]) * parts[:, 0]
        parts[:, 1] = np.exp(np.log(ratio[0]) + np.log(ratio[1] / ratio[0]) * parts[:, 1])
        self._attempts = parts.transpose(2, 0, 1).tolist()
        self._ratio = ratio

    def fit(self, index: int, height: int, width: int) -> tuple[int, int, int, int]:
        """Returns top, left, height and width of the box of `examples[index]` in an image of a size."""
        for share, ratio, down, right in self._attempts[index]:
            pixels = share * height * width
            high, wide = round(math.sqrt(pixels / ratio)), round(math.sqrt(pixels * ratio))
            if 0 < high <= height and 0 < wide <= width:
                top, left = int(down * (height - high + 1)), int(right * (width - wide + 1))
                return top, left, high, wide
        wide = min(width, round(height * self._ratio[1]))
        high = min(height, round(width / self._ratio[0]))
        return (height - high) // 2, (width - wide) // 2, high, wide


def random_flips(key: int, epoch: int, examples: np.ndarray) -> np.ndarray:
    """Draws which images are mirrored: each with a chance of a half, bool `[n]`."""
    return (draw(key, FLIP, epoch, np.asarray(examples), NUMPY) & np.uint32(1)).astype(bool)
