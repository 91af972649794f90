"""One small network for each kind of task, with what it takes and what trains it."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from tfqkd.compat import keras

layers, losses = keras.layers, keras.losses
CLASSES = losses.SparseCategoricalCrossentropy(from_logits=True)
LABELS = losses.BinaryCrossentropy(from_logits=True)
rng = np.random.default_rng(0)
COUNT = 12


@dataclasses.dataclass(frozen=True)
class Task:
    """A task.

    Attributes:
        build: Returns the network.
        x: What it takes.
        y: The labels.
        loss: As `compile` takes it.
        kinds: What the file's outputs are, by name.
        inputs: What the file takes: a shape by name.
    """

    build: Callable[[], keras.Model]
    x: Any
    y: Any
    loss: Any
    kinds: dict[str, str]
    inputs: dict[str, tuple]


def values(*shape: int) -> np.ndarray:
    return rng.normal(size=(COUNT, *shape)).astype(np.float32)


def whole(top: int, *shape: int) -> np.ndarray:
    return rng.integers(0, top, (COUNT, *shape))


def table(outputs: int) -> keras.Model:
    inputs = keras.Input((6,), name="row")
    x = layers.Dense(8, activation="relu", name="first")(inputs)
    x = layers.Dense(8, activation="relu", name="middle")(x)
    return keras.Model(inputs, layers.Dense(outputs, name="end")(x))


def signal() -> keras.Model:
    """A 1-D signal of two channels."""
    inputs = keras.Input((16, 2), name="signal")
    x = layers.Conv1D(4, 5, padding="same", activation="relu", name="first")(inputs)
    x = layers.BatchNormalization()(layers.Conv1D(4, 3, strides=2, name="middle")(x))
    x = layers.GlobalAveragePooling1D()(layers.ReLU()(x))
    return keras.Model(inputs, layers.Dense(3, name="end")(x))


def words() -> keras.Model:
    """Words of a sentence, and a class for each: a sequence of logits."""
    inputs = keras.Input((7,), dtype="int32", name="words")
    x = layers.Embedding(11, 4, name="embedding")(inputs)
    x = layers.LSTM(4, return_sequences=True, unroll=True, name="lstm")(x)
    x = layers.Dense(6, activation="relu", name="first")(x)
    x = layers.Dense(6, activation="relu", name="middle")(x)
    return keras.Model(inputs, layers.Dense(3, name="end")(x))


def several() -> keras.Model:
    """An image and a row of values, from which it tells a class, labels and a value."""
    image, row = keras.Input((6, 6, 1), name="picture"), keras.Input((3,), name="row")
    x = layers.Conv2D(3, 3, activation="relu", name="conv")(layers.Rescaling(1 / 255)(image))
    x = layers.Concatenate()([layers.Flatten()(x), layers.Dense(4, name="beside")(row)])
    x = layers.Dense(6, activation="relu", name="middle")(x)
    ends = [layers.Dense(n, name=name)(x) for name, n in (("kind", 4), ("tags", 2), ("age", 1))]
    return keras.Model([image, row], ends)


def u_net() -> keras.Model:
    """A class for each pixel."""
    inputs = keras.Input((8, 8, 3))
    wide = layers.Conv2D(3, 3, padding="same", activation="relu", name="down")(
        layers.Rescaling(1 / 255)(inputs)
    )
    deep = layers.Conv2D(4, 3, padding="same", activation="relu", name="deep")(
        layers.MaxPooling2D()(wide)
    )
    up = layers.Conv2DTranspose(3, 2, strides=2, activation="relu", name="up")(deep)
    up = layers.Concatenate()([up, wide, layers.UpSampling2D()(deep)])
    up = layers.Conv2D(4, 3, padding="same", activation="relu", name="merged")(up)
    return keras.Model(inputs, layers.Conv2D(3, 1, name="end")(up))


PIXELS = rng.integers(0, 256, (COUNT, 8, 8, 3)).astype(np.uint8)
TASKS = {
    "labels": Task(
        lambda: table(3), values(6), whole(2, 3), LABELS, {"logits": "sigmoid_logits"},
        {"inputs": (6,)},
    ),
    "regression": Task(
        lambda: table(2), values(6), values(2), "mse", {"values": "values"}, {"inputs": (6,)}
    ),
    "signal": Task(
        signal, values(16, 2), whole(3), CLASSES, {"logits": "logits"}, {"inputs": (16, 2)}
    ),
    "words": Task(words, whole(11, 7), whole(3, 7), CLASSES, {"logits": "logits"}, {"inputs": (7,)}),
    "several": Task(
        several,
        [rng.integers(0, 256, (COUNT, 6, 6, 1)).astype(np.float32), values(3)],
        [whole(4), whole(2, 2), values(1)],
        {"kind": CLASSES, "tags": LABELS, "age": "mse"},
        {"kind": "logits", "tags": "sigmoid_logits", "age": "values"},
        {"picture": (6, 6, 1), "row": (3,)},
    ),
    "u_net": Task(
        u_net, PIXELS, whole(3, 8, 8), CLASSES, {"logits": "logits"}, {"images": (8, 8, 3)}
    ),
}  # fmt: skip
