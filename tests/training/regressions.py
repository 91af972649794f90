"""Saved regressions of random weights, for the NumPy front."""

import pathlib

import numpy as np

from . import numpy_front


def save_model(
    path: pathlib.Path, seed: int, classes: int, image_shape: tuple[int, int, int] = (8, 8, 1)
) -> None:
    generator = np.random.default_rng(seed)
    kernel = generator.normal(0, 0.3, (int(np.prod(image_shape)), classes)).astype(np.float32)
    bias = generator.normal(0, 0.3, classes).astype(np.float32)
    numpy_front.save(numpy_front.Regression("saved", image_shape, kernel, bias), path)
