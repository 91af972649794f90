import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfqkd.compat import tf
from tfqkd.core import ternary, uniform

from . import reference
from .arrays import SEEDS, STEPS, VALUES, upstream

SCALES = st.floats(2**-10, 8, width=32).map(np.float32)


@pytest.mark.parametrize("rule", [ternary.twn, ternary.absmean])
class TestRulesThatFollowTheWeights:
    @given(weights=VALUES, exponent=st.integers(-10, 10))
    def test_scales_with_the_weights(self, rule, weights, exponent):
        weights = np.where(np.abs(weights) < 1e-9, 0, weights)
        factor = np.float32(2.0**exponent)
        scaled = rule(tf.constant(weights * factor))
        np.testing.assert_array_equal(scaled, rule(tf.constant(weights)) * factor)

    @given(weights=VALUES, seed=SEEDS)
    def test_passes_the_gradient_through(self, rule, weights, seed):
        latent, factor = tf.constant(weights), upstream(seed, weights.shape)
        with tf.GradientTape() as tape:
            tape.watch(latent)
            value = rule(latent)
        np.testing.assert_array_equal(tape.gradient(value, latent, factor), factor)

    def test_zeros_stay_zeros(self, rule):
        np.testing.assert_array_equal(rule(tf.zeros([3, 2])), np.zeros((3, 2)))


class TestTwn:
    @given(VALUES)
    def test_equals_the_formula(self, weights):
        actual = ternary.twn(tf.constant(weights)).numpy()
        expected = reference.twn(weights)
        # A weight that is the threshold to the last bit may fall on either side.
        ties = np.isclose(np.abs(weights), 0.7 * np.abs(weights).mean(dtype=np.float64), rtol=1e-6)
        if not ties.any():
            np.testing.assert_allclose(actual, expected, rtol=1e-5)

    @given(VALUES)
    def test_has_three_values_symmetric_around_zero(self, weights):
        values = ternary.twn(tf.constant(weights)).numpy()
        assert len(np.unique(np.abs(values[values != 0]))) <= 1
        np.testing.assert_array_equal(ternary.twn(tf.constant(-weights)), -values)

    @given(VALUES)
    def test_is_idempotent(self, weights):
        # Those beside zero are above 0.7 of the mean, which the zeros lower, and are their own mean.
        once = ternary.twn(tf.constant(weights)).numpy()
        np.testing.assert_allclose(ternary.twn(tf.constant(once)), once, rtol=1e-6)

    def test_of_uniform_weights_has_the_published_optimum(self):
        # Uniform in [-1, 1]: E|w| = 1/2, threshold 0.35, scale the mean of [0.35, 1].
        weights = tf.constant(np.linspace(-1, 1, 20001))
        assert float(ternary.twn_threshold(weights)) == pytest.approx(0.35, abs=1e-4)
        scale = ternary.twn_scale(weights, ternary.twn_threshold(weights))
        assert float(scale) == pytest.approx(0.675, abs=1e-4)

    def test_costs_hardly_more_error_than_the_optimal_step_on_gaussian_weights(self):
        weights = np.random.default_rng(0).normal(size=50_000)
        error = np.mean((weights - ternary.twn(tf.constant(weights)).numpy()) ** 2)
        assert error == pytest.approx(0.192, abs=3e-3)


class TestAbsmean:
    @given(VALUES)
    def test_equals_the_formula(self, weights):
        actual = ternary.absmean(tf.constant(weights)).numpy()
        # A weight that is the threshold to the last bit may fall on either side.
        ties = np.isclose(np.abs(weights), np.abs(weights).mean(dtype=np.float64) / 2, rtol=1e-6)
        if not ties.any():
            np.testing.assert_allclose(actual, reference.absmean(weights), rtol=1e-5)

    @given(VALUES)
    def test_keeps_at_least_what_the_optimal_step_keeps(self, weights):
        kept = ternary.absmean(tf.constant(weights)).numpy() != 0
        optimal = reference.quantized(weights, 2)
        ties = np.isclose(np.abs(weights), np.abs(optimal).max() / 2, rtol=1e-5)
        assert kept[(optimal != 0) & ~ties].all()

    def test_keeps_what_a_gaussian_has_beyond_half_its_mean_magnitude(self):
        # E|w| = √(2/π)·σ, and P(|w| ≥ E|w|/2) = erfc(1/(2·√π)).
        weights = np.random.default_rng(0).normal(size=200_000)
        values = ternary.absmean(tf.constant(weights)).numpy()
        assert values.max() == pytest.approx(math.sqrt(2 / math.pi), abs=3e-3)
        assert np.mean(values != 0) == pytest.approx(math.erfc(0.5 / math.sqrt(math.pi)), abs=3e-3)


class TestTtq:
    @given(VALUES, STEPS)
    def test_with_equal_scales_is_the_ternary_quantizer(self, weights, step):
        weights = np.where(np.isclose(np.abs(weights), step / 2, rtol=1e-5), 0, weights)
        trained = ternary.ttq(tf.constant(weights), step / 2, tf.constant(step), tf.constant(step))
        plain = uniform.quantize(tf.constant(weights), tf.constant(step), 2)
        np.testing.assert_array_equal(trained, plain)

    @given(VALUES, STEPS, SCALES, SCALES, SEEDS)
    def test_value_and_gradients_equal_the_published_sums(self, weights, threshold, wp, wn, seed):
        factor = upstream(seed, weights.shape)
        inputs = [tf.constant(weights), tf.constant(wp), tf.constant(wn)]
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            value = ternary.ttq(inputs[0], tf.constant(threshold), *inputs[1:])
        to_latent, to_wp, to_wn = tape.gradient(value, inputs, factor)
        above, below = weights > threshold, weights < -threshold
        np.testing.assert_array_equal(value, np.where(above, wp, np.where(below, -wn, 0)))
        expected = factor * np.where(above, wp, np.where(below, wn, 1))
        np.testing.assert_allclose(to_latent, expected, rtol=1e-6)
        assert float(to_wp) == pytest.approx(factor[above].sum(dtype=np.float64), abs=1e-4)
        assert float(to_wn) == pytest.approx(-factor[below].sum(dtype=np.float64), abs=1e-4)

    @given(VALUES, STEPS, SCALES, SCALES)
    def test_is_odd_when_the_scales_are_exchanged(self, weights, threshold, wp, wn):
        turned = ternary.ttq(tf.constant(-weights), threshold, tf.constant(wn), tf.constant(wp))
        value = ternary.ttq(tf.constant(weights), threshold, tf.constant(wp), tf.constant(wn))
        np.testing.assert_array_equal(turned, -value)

    @given(VALUES, STEPS, SCALES, SCALES)
    def test_is_idempotent_where_both_scales_are_above_the_threshold(
        self, weights, threshold, wp, wn
    ):
        scales = [tf.constant(threshold + wp), tf.constant(threshold + wn)]
        once = ternary.ttq(tf.constant(weights), threshold, *scales)
        np.testing.assert_array_equal(ternary.ttq(once, threshold, *scales), once)

    def test_is_not_idempotent_where_training_took_a_scale_below_the_threshold(self):
        scales = [tf.constant(0.25), tf.constant(1.0)]
        once = ternary.ttq(tf.constant([0.75, -0.75]), 0.5, *scales)
        np.testing.assert_array_equal(once, [0.25, -1.0])
        np.testing.assert_array_equal(ternary.ttq(once, 0.5, *scales), [0.0, -1.0])

    @given(VALUES, SCALES, SCALES, st.integers(-10, 10))
    def test_scales_with_weights_and_scales(self, weights, wp, wn, exponent):
        weights = np.where(np.abs(weights) < 1e-9, 0, weights)
        factor = np.float32(2.0**exponent)

        def value(factor):
            latent = tf.constant(weights * factor)
            threshold = ternary.ttq_threshold(latent)
            return ternary.ttq(
                latent, threshold, tf.constant(wp * factor), tf.constant(wn * factor)
            )

        np.testing.assert_array_equal(value(factor), value(np.float32(1)) * factor)

    def test_threshold_is_a_twentieth_of_the_largest_magnitude(self):
        threshold = ternary.ttq_threshold(tf.constant([[0.5, -4.0], [1.0, 2.0]]))
        assert float(threshold) == pytest.approx(0.2)

    def test_the_derivative_by_the_scales_is_that_of_the_loss(self):
        """Against finite differences: the value is linear in both scales."""
        weights = tf.constant(upstream(0, (40,)))
        factor = tf.constant(upstream(1, (40,)))

        def loss(wp, wn):
            return float(tf.reduce_sum(factor * ternary.ttq(weights, 0.1, wp, wn)))

        scales = [tf.constant(0.5), tf.constant(0.75)]
        with tf.GradientTape() as tape:
            tape.watch(scales)
            value = ternary.ttq(weights, 0.1, *scales)
        to_wp, to_wn = tape.gradient(value, scales, factor)
        base = loss(*scales)
        assert float(to_wp) == pytest.approx(loss(scales[0] + 1, scales[1]) - base, rel=1e-4)
        assert float(to_wn) == pytest.approx(loss(scales[0], scales[1] + 1) - base, rel=1e-4)
