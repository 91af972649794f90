"""A training by `fit` of Keras 3 or tf_keras: `python -m benchmarks.keras3_row KERAS ROW`."""

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.contestant import serve
from benchmarks.peers.keras_resnet import resnet
from benchmarks.turns import turns

BATCH, STEPS = 128, 40
TINY_STEPS = 20
"""Steps of a tiny network that count as one: a turn of single ones would be over in milliseconds."""


def prepare(library: str, row: str) -> Callable[[int], object]:
    """Builds a row of the table; returns what runs its steps.

    Args:
        library: "tf_keras", or a backend of Keras 3.
        row: "float", "ternary", "tiny" or "tiny, distilled".
    """
    if library != "tf_keras":
        os.environ["KERAS_BACKEND"] = library
    keras = importlib.import_module("tf_keras" if library == "tf_keras" else "keras")
    keras.utils.set_random_seed(0)
    is_tiny = row.startswith("tiny")
    model = _tiny(keras) if is_tiny else _resnet(keras)
    if row in {"ternary", "tiny, distilled"}:
        kind = "tfmot" if library == "tf_keras" else "keras3"
        front = importlib.import_module(f"tfqkd.fronts.{kind}")
        model = front.quantize_model(model) if row == "ternary" else model
        if row == "tiny, distilled":
            model = front.Distiller(student=model, teacher=_tiny(keras))
    model.compile(
        keras.optimizers.SGD(1e-4, momentum=0.9, nesterov=True),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        # On TensorFlow's CPUs XLA would be slower; JAX has nothing else.
        jit_compile=library == "jax",
    )
    generator = np.random.default_rng(0)
    shape = (8, 8, 1) if is_tiny else (32, 32, 3)
    images = generator.normal(size=(STEPS * BATCH, *shape)).astype(np.float32)
    labels = generator.integers(0, 10, STEPS * BATCH)

    def train(turn: Any) -> None:
        model.fit(images, labels, batch_size=BATCH, epochs=1_000_000, verbose=0, callbacks=[turn])

    run = turns(keras, train).run
    return (lambda steps: run(TINY_STEPS * steps)) if is_tiny else run


def _resnet(keras: Any) -> Any:
    def convolution(filters: int, size: int, strides: int) -> Any:
        return keras.layers.Conv2D(filters, size, strides, padding="same", use_bias=False)

    return resnet(keras, convolution)


def _tiny(keras: Any) -> Any:
    """Three layers for the digits: `fit` itself takes most of a step's time."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Flatten(),
            layers.Dense(32, activation="relu"),
            layers.Dense(32, activation="relu"),
            layers.Dense(10),
        ]
    )


if __name__ == "__main__":
    serve(lambda: prepare(*sys.argv[1:]))
