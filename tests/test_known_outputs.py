"""A model whose layers are known is the model that Keras makes of them."""

import numpy as np
import pytest

import tfqkd
from tests import known_outputs
from tfqkd.compat import keras

layers = keras.layers
IMAGES = np.random.default_rng(0).normal(size=(3, 8, 8, 2)).astype(np.float32)


def network():
    image = keras.Input((8, 8, 2), name="image")
    x = layers.Conv2D(4, 3, padding="same", use_bias=False, name="first")(image)
    x = layers.ReLU(name="rectified")(layers.BatchNormalization(name="norm")(x))
    x = layers.Add(name="sum")([x, layers.Conv2D(4, 3, padding="same", name="middle")(x)])
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    return keras.Model(image, layers.Dense(5, activation="tanh", name="head")(x))


def made():
    keras.utils.set_random_seed(1)
    return tfqkd.quantize_model(network())


def described(model):
    outputs = [(x.name, x.shape, x.dtype) for x in (layer.output for layer in model.layers)]
    return outputs, [(v.name, v.shape, v.dtype, v.trainable) for v in model.variables]


def test_names_shapes_and_bits_are_those_of_a_model_whose_layers_are_all_traced(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(known_outputs.Layer, "_infer_output_signature", known_outputs._infer)
        traced = made()
    monkeypatch.setattr(known_outputs.Layer, "_infer_output_signature", known_outputs._infer_once)
    made()
    count = len(known_outputs._known)
    known = made()
    assert len(known_outputs._known) == count
    assert described(known) == described(traced)
    np.testing.assert_array_equal(known(IMAGES), traced(IMAGES))
    np.testing.assert_array_equal(tfqkd.strip_quantization(known)(IMAGES), traced(IMAGES))


def test_a_layer_that_was_built_for_another_input_is_still_refused(monkeypatch):
    monkeypatch.setattr(known_outputs.Layer, "_infer_output_signature", known_outputs._infer_once)
    for width in (4, 5):
        layers.Dense(3)(keras.Input((width,)))
    built = layers.Dense(3)
    built(keras.Input((4,)))
    with pytest.raises(ValueError):
        built(keras.Input((5,)))
