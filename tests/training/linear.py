"""Saved models whose logits are known in closed form: W·pixels + b."""

import pathlib

import numpy as np

from tfqkd.compat import keras


def save_linear(
    path: pathlib.Path,
    seed: int,
    classes: int = 10,
    image_shape: tuple[int, int, int] = (8, 8, 1),
    activation: str | None = None,
    hidden: int = 0,
) -> list[np.ndarray]:
    """Saves a model named `linear`, and returns its weights W and b.

    With `hidden` layers of eight units in front of the last one it is no longer linear.
    """
    model = keras.Sequential(
        [
            keras.Input(image_shape),
            keras.layers.Flatten(),
            *[keras.layers.Dense(8, activation="relu", name=f"hidden{i}") for i in range(hidden)],
            keras.layers.Dense(classes, activation=activation, name="logits"),
        ],
        name="linear",
    )
    generator = np.random.default_rng(seed)
    weights = [
        generator.normal(0, 0.01 if number == 0 else 1, variable.shape).astype(np.float32)
        for number, variable in enumerate(model.weights)
    ]
    model.set_weights(weights)
    model.save(path)
    return weights
