import numpy as np
import pytest
from hypothesis import given, settings

from tests.core.arrays import BITS, SEEDS, VALUES, upstream
from tfqkd.compat import keras, tf, tfmot
from tfqkd.core.activations import LsqActivationQuantizer
from tfqkd.core.quantizers import DorefaQuantizer
from tfqkd.core.schemes import Scheme
from tfqkd.fronts.tfmot.gradients import round_gradient
from tfqkd.fronts.tfmot.model import quantize_model, quantized_activations
from tfqkd.fronts.tfmot.stripping import strip_quantization

layers = keras.layers
DATA = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)


def rounded(factor, bits, seed):
    values = tf.zeros(factor.shape)
    with tf.GradientTape() as tape:
        tape.watch(values)
        outputs = round_gradient(values, bits, [seed, 0])
    np.testing.assert_array_equal(outputs, values)
    return tape.gradient(outputs, values, factor).numpy()


@settings(max_examples=50)
@given(VALUES.filter(lambda array: array.ndim > 1), BITS, SEEDS)
def test_gradients_lie_on_the_levels_of_their_example_next_to_where_they_were(values, bits, seed):
    factor = upstream(seed, values.shape)
    actual = rounded(factor, bits, seed % 2**31)
    levels = 2**bits - 1
    largest = np.abs(factor).max(axis=tuple(range(1, factor.ndim)), keepdims=True)
    place = (actual / (2 * largest) + 0.5) * levels
    np.testing.assert_allclose(place, np.round(place), atol=1e-3)
    assert (np.abs(actual - factor) <= 2 * largest / levels * (1 + 1e-3)).all()


def test_the_expected_gradient_is_the_gradient():
    factor = np.tile(np.float32([[-1.0, -0.3, 0.1, 0.77, 0.9]]), (20_000, 1))
    actual = rounded(factor, 3, 5)
    assert len(np.unique(actual[:, 2])) == 2
    # The outermost half level is clipped: within it the mean falls short.
    np.testing.assert_allclose(actual.mean(0)[1:4], factor[0, 1:4], atol=5e-3)
    np.testing.assert_array_equal(rounded(np.zeros((2, 3), np.float32), 3, 1), np.zeros((2, 3)))


def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(5, name="first", activation="relu"),
            layers.Dense(5, name="second"),
            layers.Dense(2, name="last"),
        ]
    )


def test_a_model_with_rounded_gradients_trains_repeatably_and_is_stripped(tmp_path):
    scheme = Scheme(DorefaQuantizer(3, gradient_bits=4), LsqActivationQuantizer(4))
    weights = []
    for _ in range(2):
        quantized = quantize_model(network(), scheme, layers="first|second")
        quantized.compile(keras.optimizers.SGD(0.05), "mse")
        quantized.fit(DATA, np.ones((6, 2)), epochs=2, verbose=0, shuffle=False)
        weights.append(quantized.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert [found.layer for found in quantized_activations(quantized)] == ["first"]
    np.testing.assert_array_equal(quantized(DATA), strip_quantization(quantized)(DATA))
    quantized.save(tmp_path / "model.h5", include_optimizer=False)
    with tfmot.quantization.keras.quantize_scope():
        loaded = keras.models.load_model(tmp_path / "model.h5", compile=False)
    np.testing.assert_array_equal(loaded(DATA), quantized(DATA))


def test_the_noise_is_another_one_at_every_step():
    quantized = quantize_model(network(), Scheme(DorefaQuantizer(8, gradient_bits=2)), "second")
    gradients = []
    for _ in range(2):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(quantized(DATA, training=True) ** 2)
        gradients.append(tape.gradient(loss, quantized.get_layer("first").kernel).numpy())
    assert np.abs(gradients[0] - gradients[1]).max() > 1e-6


def test_other_widths_are_refused():
    with pytest.raises(ValueError, match="`bits` must be an integer from 2 to 8"):
        DorefaQuantizer(2, gradient_bits=1)
