"""Training images in their views, as NumPy and Pillow make them."""

import numpy as np
from PIL import Image

from tfqkd.core.crops import RandomBoxes, random_flips
from tfqkd.core.views import NUMPY, draw_numbers
from tfqkd.data.augmentation import Augmentation
from tfqkd.data.padded import show
from tfqkd.data.pictures import Pictures, in_threads, opened, to_image
from tfqkd.data.randaugment import random_operations, varied
from tfqkd.runtime.pictures import to_pixels


def varied_images(
    images: np.ndarray | Pictures,
    rows: np.ndarray,
    seed: int,
    number: int,
    augmentation: Augmentation,
) -> np.ndarray:
    """Returns images in one view of each, before mixtures.

    Args:
      images: All.
      rows: Which are shown, integers `[n]`.
      seed: Of the training, 0..2**32-1.
      number: Of the view, or the epoch.
      augmentation: How they are varied.

    Returns:
      uint8 `[n, H, W, C]`.
    """
    if augmentation.resized_crop:
        shown = _parts(images, rows, seed, number, augmentation.flip)
    else:
        shown = images[rows]
        if augmentation.views > 1:
            views = draw_numbers(seed, number, rows, augmentation.views, NUMPY)
            shown = show(shown, views, augmentation.padding)
    if not augmentation.operations:
        return shown
    drawn = random_operations(seed, number, rows, augmentation.operations)

    def operated(index: int) -> np.ndarray:
        image = varied(to_image(shown[index]), drawn[index].tolist(), augmentation.magnitude)
        return to_pixels(image, images.shape[1:])

    return np.stack(in_threads(operated, range(len(rows))))


def _parts(
    images: np.ndarray | Pictures, rows: np.ndarray, seed: int, number: int, flip: bool
) -> np.ndarray:
    boxes = RandomBoxes(seed, number, rows)
    flips = random_flips(seed, number, rows) if flip else np.zeros(len(rows), bool)
    shown = np.empty((len(rows), *images.shape[1:]), np.uint8)

    # From the file to its place in the batch at once, while the pixels are in the processor's cache.
    def show_part(index: int) -> None:
        image = opened(images, int(rows[index]))
        top, left, height, width = boxes.fit(index, image.height, image.width)
        image = image.crop((left, top, left + width, top + height))
        if flips[index]:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        shown[index] = to_pixels(image, shown.shape[1:])

    in_threads(show_part, range(len(rows)))
    return shown
