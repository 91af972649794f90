import dataclasses
import pathlib

import numpy as np
import pytest

NAMES = ("wide", "tall", "naïve")


@dataclasses.dataclass(frozen=True)
class LinearFile:
    """A LiteRT file with logits = pixels @ kernel + bias."""

    path: pathlib.Path
    kernel: np.ndarray
    bias: np.ndarray

    def logits(self, images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), -1).astype(np.float64) @ self.kernel + self.bias


@pytest.fixture(scope="session")
def linear_file(tmp_path_factory) -> LinearFile:
    from tfqkd.compat import keras
    from tfqkd.export import to_litert

    generator = np.random.default_rng(0)
    kernel = generator.normal(0, 0.01, (4 * 3 * 2, 3)).astype(np.float32)
    bias = generator.normal(0, 1, 3).astype(np.float32)
    dense = keras.layers.Dense(3)
    model = keras.Sequential([keras.Input((4, 3, 2)), keras.layers.Flatten(), dense])
    dense.set_weights([kernel, bias])
    path = tmp_path_factory.mktemp("runtime") / "linear.tflite"
    to_litert(model, path, class_names=NAMES)
    return LinearFile(path, kernel, bias)
