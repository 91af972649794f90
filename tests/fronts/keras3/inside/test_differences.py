"""What differs between backends, as docs/keras3.md says; that files move is in `test_moves`."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.fronts.keras3.inside.nets import BACKEND, array, batch, cross_entropy, perceptron
from tfqkd.core.quantizers import UniformQuantizer
from tfqkd.core.schemes import TernaryScheme
from tfqkd.fronts import keras3

pytestmark = pytest.mark.slow


def convolutional():
    x = inputs = keras.Input((16, 16, 3))
    for index in range(6):
        y = layers.Conv2D(16, 3, padding="same", use_bias=False, name=f"conv{index}")(x)
        x = layers.ReLU()(layers.BatchNormalization()(y))
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


def test_logits_of_the_stripped_model_are_bit_equal_but_for_xla():
    quantized = keras3.quantize_model(convolutional(), TernaryScheme("channel"), layers=".*")
    stripped = keras3.strip_quantization(quantized)
    images, _ = batch(8, (16, 16, 3))
    one, other = (model.predict(images, verbose=0) for model in (quantized, stripped))
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    if BACKEND == "tensorflow":
        np.testing.assert_array_equal(one, other)
        for model in (quantized, stripped):
            model.compile(jit_compile=True)
        one, other = (model.predict(images, verbose=0) for model in (quantized, stripped))
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    for kernel in keras3.quantized_kernels(quantized):
        plain = next(v for v in stripped.weights if v.path == kernel.latent.path)
        np.testing.assert_array_equal(array(plain.value), array(kernel.value()))


def test_steps_that_are_followed_are_of_float64_on_tensorflow_alone():
    scheme = TernaryScheme("channel", step_update="every_step")
    quantized = keras3.quantize_model(perceptron(units=64), scheme, layers="b")
    (kernel,) = keras3.quantized_kernels(quantized)
    random = np.random.default_rng(0)
    kernel.latent.assign(random.normal(size=kernel.latent.shape))
    expected = UniformQuantizer(2, "channel").initial_state(array(kernel.latent.value), (1,))
    quantized.compile(keras.optimizers.SGD(0.0), cross_entropy())
    quantized.fit(*batch(4), batch_size=4, verbose=0)
    found = array(kernel.state["step"].value)
    if BACKEND == "tensorflow":
        np.testing.assert_array_equal(found, expected["step"])
    np.testing.assert_allclose(found, expected["step"], rtol=2e-3)


def test_keras_refuses_several_steps_in_one_execution_on_pytorch_alone():
    model = perceptron()
    model.compile("sgd", cross_entropy(), steps_per_execution=2)
    if BACKEND == "torch":
        with pytest.raises(ValueError, match="steps_per_execution"):
            model.fit(*batch(8), verbose=0)
    else:
        model.fit(*batch(8), verbose=0)


class Forgetful(keras.Model):
    """Calls batch norm without `training=`."""

    def __init__(self):
        super().__init__()
        self.norm = layers.BatchNormalization()
        self.logits = layers.Dense(3)

    def call(self, inputs, training=None):
        return self.logits(self.norm(inputs))


def test_a_subclassed_model_on_jax_trains_layers_that_it_tells():
    model = Forgetful()
    model.compile("sgd", cross_entropy())
    inputs, labels = batch(8)
    model.fit(inputs + 3, labels, verbose=0)
    moved = bool(np.any(array(model.norm.moving_mean.value)))
    assert moved is (BACKEND != "jax")
