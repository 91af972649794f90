"""Small networks and data for the tests."""

import keras
import numpy as np

layers = keras.layers
BACKEND = keras.backend.backend()


def perceptron(name="net", regularizer=None, batch_norm=True, units=8, classes=3, dropout=0.0):
    """Layers a, b (with batch norm) and logits, on six features."""
    x = inputs = keras.Input((6,), name="features")
    x = layers.Dense(units, activation="relu", kernel_regularizer=regularizer, name="a")(x)
    x = layers.Dense(units, kernel_regularizer=regularizer, name="b")(x)
    if batch_norm:
        x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU(name="relu")(x)
    if dropout:
        x = layers.Dropout(dropout, name="drop")(x)
    return keras.Model(inputs, layers.Dense(classes, name="logits")(x), name=name)


def batch(count=16, shape=(6,), classes=3, seed=0):
    """Inputs and classes."""
    random = np.random.default_rng(seed)
    return random.normal(size=(count, *shape)).astype("float32"), random.integers(0, classes, count)


def cross_entropy():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def array(value):
    return keras.ops.convert_to_numpy(value)


def outputs(model, inputs):
    return array(model(inputs, training=False))


def same_outputs(one, other, inputs):
    """Bit-equal on TensorFlow; XLA computes another graph in another order."""
    first, second = outputs(one, inputs), outputs(other, inputs)
    if BACKEND == "tensorflow":
        np.testing.assert_array_equal(first, second)
    else:
        np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-5)


def same_weights(one, other):
    for first, second in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)
