"""What a Keras 3 model returns, by how it ends."""

import keras
import numpy as np
import pytest

from tfqkd.core.schemes import TernaryScheme
from tfqkd.fronts import keras3
from tfqkd.fronts.keras3.outputs import output_of

layers = keras.layers
RAW = np.array([[3.0, -1.0], [0.5, 2.0]])
SHARES = np.array([[0.25, 0.75], [0.5, 0.5]])


def graph(*behind, activation=None):
    inputs = keras.Input((3,))
    x = layers.Dense(2, activation=activation)(inputs)
    for layer in behind:
        x = layer(x)
    return keras.Model(inputs, x)


def within(model):
    inputs = keras.Input((3,))
    return keras.Model(inputs, layers.Dropout(0.5)(model(inputs)))


@pytest.mark.parametrize(
    ("model", "outputs", "expected"),
    [
        (graph(), RAW, "logits"),
        (graph(), SHARES, "softmax"),
        (graph(), RAW[:, :1], "values"),
        (graph(activation="softmax"), RAW, "softmax"),
        (graph(layers.Reshape((2,)), layers.Softmax()), RAW, "softmax"),
        (within(graph(activation="sigmoid")), RAW, "sigmoid"),
        (graph(layers.ReLU()), RAW, "values"),
        (graph(activation="relu"), RAW, "values"),
        (within(keras.Sequential([keras.Input((3,)), layers.Dense(2)])), RAW, "logits"),
        (
            keras3.quantize_model(graph(activation="sigmoid"), TernaryScheme(), layers=".*"),
            RAW,
            "sigmoid",
        ),
    ],
)
def test_the_last_function_and_the_outputs_tell(model, outputs, expected):
    assert output_of(model, outputs) == expected
