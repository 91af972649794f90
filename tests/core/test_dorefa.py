import numpy as np
import pytest
from hypothesis import given

from tfqkd.compat import tf
from tfqkd.core import dorefa

from . import reference
from .arrays import BITS, SEEDS, VALUES, upstream


@given(VALUES, BITS)
def test_equals_the_formula(weights, bits):
    actual = dorefa.dorefa(tf.constant(weights), bits).numpy()
    if np.abs(weights).max() < 1e-6:
        assert np.isfinite(actual).all()
        return
    expected = reference.dorefa(weights, bits)
    # Rounding in float32 may move a value on the edge between two levels to the other one.
    gap = 2 / (2**bits - 1)
    squashed = np.tanh(weights.astype(np.float64))
    place = (squashed / np.abs(squashed).max() + 1) / gap
    edge = np.abs(place - np.floor(place) - 0.5) < 1e-4
    np.testing.assert_allclose(actual[~edge], expected[~edge], atol=1e-6)
    assert np.abs(actual - expected).max() < 1.01 * gap


@given(VALUES, BITS)
def test_values_are_odd_codes_over_the_number_of_levels(weights, bits):
    codes = dorefa.dorefa(tf.constant(weights), bits).numpy() * (2**bits - 1)
    np.testing.assert_allclose(codes, np.round(codes), atol=1e-4)
    assert (np.round(codes) % 2 == 1).all()
    assert np.abs(np.round(codes)).max() <= 2**bits - 1


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_the_largest_weight_gets_the_outermost_level(bits):
    weights = tf.constant([0.01, -0.02, 0.04])
    assert float(dorefa.dorefa(weights, bits)[2]) == 1.0


@given(VALUES, BITS)
def test_is_odd_but_on_the_edges_between_levels(weights, bits):
    """An edge has to go to one side: zero, which is no level, becomes 1/n or -1/n whatever its sign."""
    value = dorefa.dorefa(tf.constant(weights), bits).numpy()
    turned = dorefa.dorefa(tf.constant(-weights), bits).numpy()
    squashed = np.tanh(weights.astype(np.float64))
    place = (2**bits - 1) * (squashed / max(np.abs(squashed).max(), 1e-30) + 1) / 2
    edge = np.abs(place - np.floor(place) - 0.5) < 1e-4
    np.testing.assert_array_equal(turned[~edge], -value[~edge])
    np.testing.assert_array_equal(np.abs(value[weights == 0]), np.float32(1 / (2**bits - 1)))


@given(VALUES, BITS, SEEDS)
def test_the_gradient_equals_the_derivative_written_out(weights, bits, seed):
    weights, factor = weights.astype(np.float64), upstream(seed, weights.shape).astype(np.float64)
    latent = tf.constant(weights)
    with tf.GradientTape() as tape:
        tape.watch(latent)
        value = dorefa.dorefa(latent, bits)
    actual = tape.gradient(value, latent, factor)
    squashed = np.tanh(weights)
    largest = np.abs(squashed).max()
    if not largest:
        np.testing.assert_array_equal(actual, np.zeros(weights.shape))
        return
    top = np.abs(squashed) == largest
    by_largest = -(factor * squashed).sum() / largest**2 * np.sign(squashed) * top / top.sum()
    expected = (1 - squashed**2) * (factor / largest + by_largest)
    # Equal weights may get a tanh that differs in its last bit: which of them is the largest is open.
    actual, expected = (
        np.where(top, (gradient * np.sign(weights))[top].mean(), gradient)
        for gradient in (actual.numpy(), expected)
    )
    np.testing.assert_allclose(
        actual, expected, rtol=1e-6, atol=1e-9 * np.abs(factor).max() / largest
    )


@pytest.mark.parametrize(("bits", "same"), [(2, True), (8, False)])
def test_levels_are_fixed_points_only_of_few_bits(bits, same):
    """The hyperbolic tangent bends the levels: the quantizer is not idempotent, and has no scale."""
    once = dorefa.dorefa(tf.constant(np.linspace(-2, 2, 1001)), bits)
    assert np.allclose(dorefa.dorefa(once, bits), once) == same


def test_the_gradient_is_that_of_the_squashed_weights_without_the_rounding():
    weights, factor = upstream(0, (30,)).astype(np.float64), upstream(1, (30,)).astype(np.float64)

    def smooth(w):
        return np.sum(factor * np.tanh(w) / np.abs(np.tanh(w)).max())

    latent = tf.constant(weights)
    with tf.GradientTape() as tape:
        tape.watch(latent)
        value = dorefa.dorefa(latent, 3)
    actual = tape.gradient(value, latent, factor)
    for index in range(30):
        nudge = np.zeros(30)
        nudge[index] = 1e-6
        expected = (smooth(weights + nudge) - smooth(weights - nudge)) / 2e-6
        assert float(actual[index]) == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_two_bits_give_the_published_levels():
    values = dorefa.dorefa(tf.constant(np.linspace(-2, 2, 101)), 2)
    np.testing.assert_allclose(np.unique(values), [-1, -1 / 3, 1 / 3, 1])
