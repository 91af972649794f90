import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfqkd.compat import tf
from tfqkd.core import steps, uniform

from . import reference
from .arrays import BITS, STEPS, floats
from .arrays import VALUES as WEIGHTS
from .distributions import samples

ALL_BITS = range(2, 9)


@pytest.mark.parametrize("bits", [1, 9, True, 2.0])
def test_other_widths_are_refused(bits):
    weights, step = tf.ones([3]), tf.ones([1])
    for function in (uniform.codes, uniform.quantize, uniform.follow_step):
        with pytest.raises(ValueError, match="`bits` must be"):
            function(weights, step, bits)


class TestCodes:
    @given(WEIGHTS, STEPS, BITS)
    def test_equal_the_formula_weight_by_weight(self, weights, step, bits):
        actual = uniform.codes(tf.constant(weights), tf.constant(step), bits)
        np.testing.assert_array_equal(actual, reference.codes(weights, step, bits))

    @given(WEIGHTS, STEPS, BITS)
    def test_are_integers_between_the_largest_codes(self, weights, step, bits):
        codes = uniform.codes(tf.constant(weights), tf.constant(step), bits).numpy()
        np.testing.assert_array_equal(codes, np.round(codes))
        assert np.abs(codes).max() <= 2 ** (bits - 1) - 1

    @given(WEIGHTS, STEPS, BITS)
    def test_are_odd(self, weights, step, bits):
        positive = uniform.codes(tf.constant(weights), tf.constant(step), bits)
        negative = uniform.codes(tf.constant(-weights), tf.constant(step), bits)
        np.testing.assert_array_equal(positive, -negative)

    @given(WEIGHTS, STEPS, BITS, st.integers(-20, 20))
    def test_do_not_change_when_weights_and_step_are_scaled(self, weights, step, bits, exponent):
        weights = np.where(np.abs(weights) < 1e-20, 0, weights)  # Scaled, they stay normal numbers.
        factor = np.float32(2.0**exponent)
        np.testing.assert_array_equal(
            uniform.codes(tf.constant(weights * factor), tf.constant(step * factor), bits),
            uniform.codes(tf.constant(weights), tf.constant(step), bits),
        )

    @pytest.mark.parametrize("bits", ALL_BITS)
    def test_every_level_is_used_and_each_covers_one_step(self, bits):
        largest = 2 ** (bits - 1) - 1
        middles = np.arange(-largest - 2, largest + 3, dtype=np.float32)
        for offset in (-0.49, 0.0, 0.49):
            codes = uniform.codes(tf.constant(0.25 * (middles + offset)), tf.constant(0.25), bits)
            np.testing.assert_array_equal(codes, np.clip(middles, -largest, largest))

    def test_halves_round_away_from_zero(self):
        codes = uniform.codes(tf.constant([-1.5, -0.5, 0.5, 1.5]), tf.constant(1.0), 3)
        np.testing.assert_array_equal(codes, [-2, -1, 1, 2])

    def test_a_step_of_zero_gives_zero_in_its_channel_alone(self):
        weights = tf.constant([[1.0, 2.0], [-3.0, -4.0]])
        codes = uniform.codes(weights, tf.constant([[0.0, 2.0]]), 3)
        np.testing.assert_array_equal(codes, [[0, 1], [0, -2]])


class TestQuantize:
    @given(WEIGHTS, STEPS, BITS)
    def test_is_exactly_the_step_times_the_code(self, weights, step, bits):
        actual = uniform.quantize(tf.constant(weights), tf.constant(step), bits)
        np.testing.assert_array_equal(actual, step * reference.codes(weights, step, bits))

    @given(WEIGHTS, STEPS, BITS)
    def test_is_idempotent(self, weights, step, bits):
        once = uniform.quantize(tf.constant(weights), tf.constant(step), bits)
        np.testing.assert_array_equal(uniform.quantize(once, tf.constant(step), bits), once)

    @given(WEIGHTS, STEPS, BITS, st.integers(0, 2**32 - 1))
    def test_passes_the_gradient_through_and_none_to_the_step(self, weights, step, bits, seed):
        upstream = np.random.default_rng(seed).normal(size=weights.shape).astype(np.float32)
        latent, step = tf.constant(weights), tf.constant(step)
        with tf.GradientTape() as tape:
            tape.watch([latent, step])
            value = uniform.quantize(latent, step, bits)
        to_latent, to_step = tape.gradient(value, [latent, step], output_gradients=upstream)
        np.testing.assert_array_equal(to_latent, upstream)
        assert to_step is None

    @pytest.mark.parametrize("jit_compile", [False, True])
    def test_value_and_gradient_are_the_same_in_a_graph(self, jit_compile):
        weights = samples("normal", (50, 3)).astype(np.float32)
        step = np.float32([[0.5, 0.75, 0.0]])

        @tf.function(jit_compile=jit_compile)
        def value_and_gradient(latent):
            with tf.GradientTape() as tape:
                tape.watch(latent)
                value = uniform.quantize(latent, tf.constant(step), 3)
                loss = tf.reduce_sum(value * tf.range(3.0))
            return value, tape.gradient(loss, latent)

        value, gradient = value_and_gradient(tf.constant(weights))
        np.testing.assert_array_equal(value, step * reference.codes(weights, step, 3))
        np.testing.assert_array_equal(gradient, np.tile(np.float32([0, 1, 2]), (50, 1)))


class TestFollowStep:
    @pytest.mark.parametrize("jit_compile", [False, True])
    def test_ternary_is_the_optimum_whatever_the_last_step(self, jit_compile):
        weights = samples("heavy_tailed", (3, 3, 2, 4)).astype(np.float32)
        follow = tf.function(uniform.follow_step, jit_compile=jit_compile)
        for axes in ((), (3,), (2, 3)):
            optimum = reference.steps(weights, 2, axes)
            for last in (0.0, 1e-3, 1.0, 50.0):
                step = follow(tf.constant(weights), tf.fill(optimum.shape, np.float32(last)), 2)
                np.testing.assert_allclose(step, optimum, rtol=1e-6)

    @settings(max_examples=50)
    @given(
        hnp.arrays(np.float64, (20,), elements=floats(-8, 8)), floats(2**-6, 4), st.integers(3, 8)
    )
    def test_the_error_never_grows(self, weights, last, bits):
        step = uniform.follow_step(tf.constant(weights), tf.constant([last], tf.float64), bits)
        before = reference.squared_error(weights, last, bits)
        after = reference.squared_error(weights, step.numpy()[0], bits)
        assert after <= before + 1e-12 * (weights**2).sum()

    @pytest.mark.parametrize("bits", range(3, 9))
    def test_the_optimum_stays(self, bits):
        weights = tf.constant(samples("normal", (30, 4)))
        optimum = tf.constant(steps.optimal_step(weights, bits, [1]))
        step = uniform.follow_step(weights, optimum, bits)
        np.testing.assert_allclose(step, optimum, rtol=1e-9)

    @pytest.mark.parametrize("jit_compile", [False, True])
    def test_is_two_rounds_of_lloyds_algorithm(self, jit_compile):
        weights = samples("normal", (30, 4)).astype(np.float32)
        step = np.full((1, 4), 0.4, np.float32)
        follow = tf.function(uniform.follow_step, jit_compile=jit_compile)
        actual = follow(tf.constant(weights), tf.constant(step), 3)
        for _ in range(2):
            codes = reference.codes(weights, step, 3)
            step = ((weights * codes).sum(0) / (codes**2).sum(0))[None]
        np.testing.assert_allclose(actual, step, rtol=1e-5)

    def test_channels_follow_alone(self):
        weights = samples("normal", (30, 2)) * [1.0, 100.0]
        last = tf.constant(steps.optimal_step(weights, 4, [1]))
        moved = weights + np.array([0.05, 0.0])
        step = uniform.follow_step(tf.constant(moved), last, 4).numpy()[0]
        assert step[0] != last.numpy()[0, 0]
        assert step[1] == pytest.approx(last.numpy()[0, 1], rel=1e-12)

    def test_a_step_of_zero_stays_zero_above_two_bits(self):
        step = uniform.follow_step(tf.ones([3, 2]), tf.constant([[0.0, 1.0]]), 3)
        np.testing.assert_array_equal(step, [[0, 1]])
