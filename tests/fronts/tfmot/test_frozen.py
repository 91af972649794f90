"""Layers with `trainable=False`: nothing of them may move, whatever trains the model."""

import numpy as np
import pytest

from tfqkd.compat import keras, tf, tfmot
from tfqkd.core.activations import LsqActivationQuantizer, PactQuantizer
from tfqkd.core.quantizers import DorefaQuantizer, LsqQuantizer, TtqQuantizer, UniformQuantizer
from tfqkd.core.schemes import Scheme
from tfqkd.fronts.tfmot.distiller import Distiller
from tfqkd.fronts.tfmot.model import quantize_model, quantized_kernels
from tfqkd.fronts.tfmot.stripping import strip_quantization

layers = keras.layers
FROZEN = ("a", "norm", "rectified", "b")
DATA = np.random.default_rng(0).normal(size=(32, 6)).astype(np.float32)
LABELS = np.arange(32) % 4

SCHEMES = {
    "once": Scheme(UniformQuantizer(2)),
    "every_step": Scheme(UniformQuantizer(2, "channel", "every_step")),
    "lsq": Scheme(LsqQuantizer(3, "channel"), LsqActivationQuantizer(3)),
    "ttq": Scheme(TtqQuantizer(), PactQuantizer(4)),
    "rounded gradients": Scheme(DorefaQuantizer(2, gradient_bits=6), LsqActivationQuantizer(4)),
}


def network():
    """Quantized by default are b and c; what they read comes from `rectified` and b, which are frozen."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, name="a"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(name="rectified"),
            layers.Dense(8, activation="relu", bias_initializer="ones", name="b"),
            layers.Dense(8, activation="relu", bias_initializer="ones", name="c"),
            layers.Dense(4, name="head"),
        ]
    )


def freeze(model):
    for name in FROZEN:
        model.get_layer(name).trainable = False


def train(model, distilled=False):
    """Returns the names of the layers whose weights moved, the quantizers' among them."""
    before = {layer.name: layer.get_weights() for layer in model.layers}
    trained = Distiller(student=model, teacher=network()) if distilled else model
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    trained.compile(keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=0.01), loss)
    trained.fit(DATA, LABELS, batch_size=8, verbose=0)
    return {
        layer.name
        for layer in model.layers
        if any(
            not np.array_equal(old, new)
            for old, new in zip(before[layer.name], layer.get_weights(), strict=True)
        )
    }


@pytest.mark.parametrize(
    ("name", "when", "distilled"),
    [
        *((name, "before", False) for name in SCHEMES),
        *(
            pytest.param(
                name, "after", True, marks=() if name in ("once", "lsq") else pytest.mark.slow
            )
            for name in SCHEMES
        ),
    ],
)
def test_a_frozen_layer_keeps_weights_steps_and_statistics(name, when, distilled):
    model = network()
    if when == "before":
        freeze(model)
    quantized = quantize_model(model, SCHEMES[name])
    if when == "after":
        freeze(quantized)
    flags = {layer.name: layer.trainable for layer in quantized.layers}
    assert flags == {layer.name: layer.name not in FROZEN for layer in model.layers}
    assert train(quantized, distilled) == {"c", "head"}
    stripped = strip_quantization(quantized)
    assert {name: stripped.get_layer(name).trainable for name in flags} == flags
    np.testing.assert_array_equal(stripped(DATA), quantized(DATA))


@pytest.mark.parametrize("name", ["every_step", "lsq", "rounded gradients"])
def test_a_layer_that_thaws_trains_whole_again(name):
    model = network()
    freeze(model)
    quantized = quantize_model(model, SCHEMES[name])
    frozen = [variable.name for variable in quantized.get_layer("b").weights]
    for layer in quantized.layers:
        layer.trainable = True
    thawed = [variable.name for variable in quantized.get_layer("b").weights]
    never = [
        variable.name for variable in quantize_model(network(), SCHEMES[name]).layers[3].weights
    ]
    assert frozen == thawed == never
    assert train(quantized) == {"a", "norm", "b", "c", "head"} | (
        {"rectified"} if quantized.get_layer("rectified").weights else set()
    )


def test_a_frozen_model_has_nothing_to_train_and_stays_one():
    quantized = quantize_model(network(), SCHEMES["lsq"])
    names = [variable.name for variable in quantized.weights]
    quantized.trainable = False
    assert quantized.trainable_weights == []
    assert {variable.name for variable in quantized.non_trainable_weights} == set(names)
    stripped = strip_quantization(quantized)
    assert not stripped.trainable
    assert stripped.trainable_weights == []
    assert stripped.get_layer("b_quantization").trainable is False
    model = network()
    model.trainable = False
    assert not quantize_model(model).trainable


@pytest.mark.parametrize(
    "name", ["model.h5", "model.keras", "saved", "model.weights.h5", "checkpoint"]
)
def test_a_file_holds_what_is_frozen(name, tmp_path):
    path = tmp_path / name
    model = network()
    freeze(model)
    quantized = quantize_model(model, SCHEMES["lsq"])
    for variable in quantized.weights:
        variable.assign(variable + tf.ones_like(variable))
    if name in ("model.weights.h5", "checkpoint"):
        loaded = quantize_model(network(), SCHEMES["lsq"])
        quantized.save_weights(path)
        loaded.load_weights(path)
    else:
        quantized.save(path)
        with tfmot.quantization.keras.quantize_scope():
            loaded = keras.models.load_model(path, compile=False)
        flags = {layer.name: layer.trainable for layer in loaded.layers}
        assert flags == {layer.name: layer.trainable for layer in quantized.layers}
    np.testing.assert_array_equal(loaded(DATA), quantized(DATA))
    if name != "saved":
        kernels = zip(quantized_kernels(loaded), quantized_kernels(quantized), strict=True)
        for one, other in kernels:
            np.testing.assert_array_equal(one.latent, other.latent)
            np.testing.assert_array_equal(one.scales(), other.scales())


def test_a_part_of_a_layer_may_be_frozen_alone():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5, 6))
    attention = layers.MultiHeadAttention(2, 3, name="attention")
    x = layers.Dense(6, name="a")(inputs)
    x = layers.Dense(6, activation=layers.PReLU(name="bent"), name="b")(attention(x, x))
    model = keras.Model(inputs, layers.Dense(2, name="head")(x))
    attention._query_dense.trainable = False
    model.get_layer("b").activation.trainable = False
    quantized = quantize_model(model)
    for copy in (quantized, strip_quantization(quantized)):
        assert {v.name for v in copy.trainable_weights} == {v.name for v in model.trainable_weights}
    frozen = [v for v in quantized.weights if "query" in v.name or "bent" in v.name]
    before = [variable.numpy() for variable in frozen]
    quantized.compile("sgd", "mse")
    kernel = next(quantized_kernels(quantized)).latent
    start = kernel.numpy()
    quantized.fit(tf.ones((4, 5, 6)), tf.ones((4, 5, 2)), verbose=0)
    assert len(frozen) == 3
    for variable, value in zip(frozen, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    assert np.abs(kernel.numpy() - start).max() > 0
