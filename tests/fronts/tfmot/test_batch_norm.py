import numpy as np
import pytest

from tfqkd.compat import keras, tf
from tfqkd.core.activations import LsqActivationQuantizer
from tfqkd.core.quantizers import UniformQuantizer
from tfqkd.core.schemes import Scheme
from tfqkd.fronts.tfmot.batch_norm import reestimate_batch_norm
from tfqkd.fronts.tfmot.model import quantize_model, quantized_kernels

layers = keras.layers
DATA = np.random.default_rng(0).normal(1.0, 2.0, size=(10, 6, 6, 2)).astype(np.float32)


def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.Conv2D(3, 3, name="first"),
            layers.BatchNormalization(name="norm1"),
            layers.ReLU(),
            layers.Dropout(0.5),
            layers.Conv2D(4, 3, name="second"),
            layers.BatchNormalization(name="norm2", scale=False),
            layers.Flatten(),
            layers.Dense(2, name="last"),
        ]
    )


def test_the_first_batch_norm_gets_the_moments_of_all_data_however_they_are_batched():
    model = network()
    values = model.get_layer("first")(DATA).numpy().reshape(-1, 3).astype(np.float64)
    labelled = (DATA, np.arange(10))
    for data in (DATA, labelled, tf.data.Dataset.from_tensor_slices(labelled).batch(4)):
        quantized = quantize_model(model, layers="second")
        reestimate_batch_norm(quantized, data)
        norm = quantized.get_layer("norm1")
        np.testing.assert_allclose(norm.moving_mean, values.mean(0), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(norm.moving_variance, values.var(0), rtol=1e-4)


def test_later_ones_see_the_quantized_weights_and_the_normalized_values():
    model = network()
    quantized = quantize_model(model, layers="second")
    weights = [kernel.latent.numpy() for kernel in quantized_kernels(quantized)]
    state = [v.numpy() for k in quantized_kernels(quantized) for v in k.state.values()]
    reestimate_batch_norm(quantized, DATA)
    x = model.get_layer("first")(DATA).numpy()
    x = (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-3)
    (kernel,) = quantized_kernels(quantized)
    x = tf.nn.conv2d(np.maximum(x, 0), kernel.value(), 1, "VALID").numpy()
    norm = quantized.get_layer("norm2")
    np.testing.assert_allclose(norm.moving_mean, x.mean((0, 1, 2)), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(norm.moving_variance, x.var((0, 1, 2)), rtol=1e-3)
    # Nothing else moves.
    np.testing.assert_array_equal(kernel.latent, weights[0])
    np.testing.assert_array_equal(next(iter(kernel.state.values())), state[0])


def test_outputs_at_inference_are_those_of_training_on_the_same_data():
    scheme = Scheme(UniformQuantizer(2), LsqActivationQuantizer(8))
    kept = [layer for layer in network().layers if not isinstance(layer, layers.Dropout)]
    model = keras.Sequential([keras.Input((6, 6, 2)), *kept])
    quantized = quantize_model(model, scheme)
    expected = quantized(DATA, training=True).numpy()
    reestimate_batch_norm(quantized, DATA)
    np.testing.assert_allclose(quantized(DATA, training=False), expected, rtol=1e-3, atol=1e-3)


def test_frozen_statistics_stay():
    model = network()
    model.get_layer("norm1").trainable = False
    quantized = quantize_model(model, layers="second")
    reestimate_batch_norm(quantized, DATA)
    np.testing.assert_array_equal(quantized.get_layer("norm1").moving_mean, np.zeros(3))
    assert np.abs(quantized.get_layer("norm2").moving_mean).min() > 0


def test_it_needs_batch_norm_and_data():
    plain = keras.Sequential([keras.Input((4,)), layers.Dense(2, name="d")])
    with pytest.raises(ValueError, match="a model must have some that is trainable"):
        reestimate_batch_norm(plain, np.ones((2, 4), np.float32))
    with pytest.raises(ValueError, match="There must be data to estimate"):
        reestimate_batch_norm(network(), [])
