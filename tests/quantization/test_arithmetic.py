import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from tfqkd.compat import tf
from tfqkd.quantization import arithmetic

from . import reference
from .arrays import BITS, STEPS
from .arrays import VALUES as WEIGHTS

ALL_BITS = range(2, 9)


def floats(smallest: float, largest: float) -> st.SearchStrategy[float]:
    # TensorFlow flushes subnormal numbers to zero, NumPy does not.
    return st.floats(smallest, largest, width=32, allow_subnormal=False)


def samples(kind: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    normal = generator.normal(size=shape)
    return {
        "normal": normal,
        "heavy_tailed": generator.standard_t(1.2, shape),
        "uniform": generator.uniform(-1, 1, shape),
        "zeros": np.zeros(shape),
        "constant": np.full(shape, -0.7),
        "one_nonzero": np.where(np.arange(normal.size).reshape(shape) == 1, -3.0, 0.0),
        "half_zero": normal * (normal > 0),
        "ties": generator.integers(-3, 4, shape) * 0.25,
        "tiny": normal * 1e-30,
        "huge": normal * 1e30,
    }[kind]


KINDS = (
    "normal",
    "heavy_tailed",
    "uniform",
    "zeros",
    "constant",
    "one_nonzero",
    "half_zero",
    "ties",
    "tiny",
    "huge",
)


class TestLargestCode:
    def test_is_half_of_all_levels_but_zero(self):
        assert [arithmetic.largest_code(bits) for bits in ALL_BITS] == [1, 3, 7, 15, 31, 63, 127]

    @pytest.mark.parametrize("bits", [1, 9, 0, -2, True, 2.0, "2", None])
    def test_other_widths_are_refused(self, bits):
        with pytest.raises(
            ValueError, match=r"`bits` must be an integer from 2 to 8\. Received: bits="
        ):
            arithmetic.largest_code(bits)

    @pytest.mark.parametrize("bits", [1, 9, True, 2.0])
    def test_every_function_refuses_them(self, bits):
        weights, step = tf.ones([3]), tf.ones([1])
        for function in (
            lambda: arithmetic.codes(weights, step, bits),
            lambda: arithmetic.quantize(weights, step, bits),
            lambda: arithmetic.optimal_step(weights, bits),
            lambda: arithmetic.follow_step(weights, step, bits),
        ):
            with pytest.raises(ValueError, match="`bits` must be"):
                function()


class TestCodes:
    @given(WEIGHTS, STEPS, BITS)
    def test_equal_the_formula_weight_by_weight(self, weights, step, bits):
        actual = arithmetic.codes(tf.constant(weights), tf.constant(step), bits)
        np.testing.assert_array_equal(actual, reference.codes(weights, step, bits))

    @given(WEIGHTS, STEPS, BITS)
    def test_are_integers_between_the_largest_codes(self, weights, step, bits):
        codes = arithmetic.codes(tf.constant(weights), tf.constant(step), bits).numpy()
        np.testing.assert_array_equal(codes, np.round(codes))
        assert np.abs(codes).max() <= 2 ** (bits - 1) - 1

    @given(WEIGHTS, STEPS, BITS)
    def test_are_odd(self, weights, step, bits):
        positive = arithmetic.codes(tf.constant(weights), tf.constant(step), bits)
        negative = arithmetic.codes(tf.constant(-weights), tf.constant(step), bits)
        np.testing.assert_array_equal(positive, -negative)

    @given(WEIGHTS, STEPS, BITS, st.integers(-20, 20))
    def test_do_not_change_when_weights_and_step_are_scaled(self, weights, step, bits, exponent):
        weights = np.where(np.abs(weights) < 1e-20, 0, weights)  # Scaled, they stay normal numbers.
        factor = np.float32(2.0**exponent)
        np.testing.assert_array_equal(
            arithmetic.codes(tf.constant(weights * factor), tf.constant(step * factor), bits),
            arithmetic.codes(tf.constant(weights), tf.constant(step), bits),
        )

    @pytest.mark.parametrize("bits", ALL_BITS)
    def test_every_level_is_used_and_each_covers_one_step(self, bits):
        largest = 2 ** (bits - 1) - 1
        middles = np.arange(-largest - 2, largest + 3, dtype=np.float32)
        for offset in (-0.49, 0.0, 0.49):
            codes = arithmetic.codes(
                tf.constant(0.25 * (middles + offset)), tf.constant(0.25), bits
            )
            np.testing.assert_array_equal(codes, np.clip(middles, -largest, largest))

    def test_halves_round_away_from_zero(self):
        codes = arithmetic.codes(tf.constant([-1.5, -0.5, 0.5, 1.5]), tf.constant(1.0), 3)
        np.testing.assert_array_equal(codes, [-2, -1, 1, 2])

    def test_a_step_of_zero_gives_zero_in_its_channel_alone(self):
        weights = tf.constant([[1.0, 2.0], [-3.0, -4.0]])
        codes = arithmetic.codes(weights, tf.constant([[0.0, 2.0]]), 3)
        np.testing.assert_array_equal(codes, [[0, 1], [0, -2]])


class TestQuantize:
    @given(WEIGHTS, STEPS, BITS)
    def test_is_exactly_the_step_times_the_code(self, weights, step, bits):
        actual = arithmetic.quantize(tf.constant(weights), tf.constant(step), bits)
        np.testing.assert_array_equal(actual, step * reference.codes(weights, step, bits))

    @given(WEIGHTS, STEPS, BITS)
    def test_is_idempotent(self, weights, step, bits):
        once = arithmetic.quantize(tf.constant(weights), tf.constant(step), bits)
        np.testing.assert_array_equal(arithmetic.quantize(once, tf.constant(step), bits), once)

    @given(WEIGHTS, STEPS, BITS, st.integers(0, 2**32 - 1))
    def test_passes_the_gradient_through_and_none_to_the_step(self, weights, step, bits, seed):
        upstream = np.random.default_rng(seed).normal(size=weights.shape).astype(np.float32)
        latent, step = tf.constant(weights), tf.constant(step)
        with tf.GradientTape() as tape:
            tape.watch([latent, step])
            value = arithmetic.quantize(latent, step, bits)
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
                value = arithmetic.quantize(latent, tf.constant(step), 3)
                loss = tf.reduce_sum(value * tf.range(3.0))
            return value, tape.gradient(loss, latent)

        value, gradient = value_and_gradient(tf.constant(weights))
        np.testing.assert_array_equal(value, step * reference.codes(weights, step, 3))
        np.testing.assert_array_equal(gradient, np.tile(np.float32([0, 1, 2]), (50, 1)))


class TestOptimalStep:
    @pytest.mark.parametrize("bits", ALL_BITS)
    @pytest.mark.parametrize("kind", KINDS)
    def test_no_step_at_all_has_a_smaller_error(self, kind, bits):
        weights = samples(kind, (41,), seed=bits)
        step = arithmetic.optimal_step(tf.constant(weights), bits).numpy()
        best, error = reference.optimal_step(weights, bits)
        assert step.shape == (1,)
        assert reference.squared_error(weights, step[0], bits) == pytest.approx(
            error, abs=1e-14 * (weights**2).sum()
        )
        if kind not in ("ties", "constant", "one_nonzero"):  # There several steps are best.
            assert step[0] == pytest.approx(best, rel=1e-9)

    @settings(max_examples=25)
    @given(hnp.arrays(np.float64, (12,), elements=floats(-8, 8)), BITS)
    def test_no_step_has_a_smaller_error_whatever_the_weights(self, weights, bits):
        step = arithmetic.optimal_step(tf.constant(weights), bits).numpy()[0]
        error = reference.optimal_step(weights, bits)[1]
        actual = reference.squared_error(weights, step, bits)
        assert actual == pytest.approx(error, abs=1e-14 * (weights**2).sum())

    @pytest.mark.parametrize("bits", [2, 3, 8])
    @pytest.mark.parametrize(
        ("shape", "axes"),
        [
            ((9, 4), (1,)),  # Dense
            ((3, 2, 4), (2,)),  # Conv1D
            ((2, 3, 3, 2), (3,)),  # Conv2D
            ((2, 2, 3, 3), (2,)),  # Conv2DTranspose: output channels before input channels
            ((2, 3, 4, 2), (2, 3)),  # DepthwiseConv2D: input channel and multiplier
        ],
    )
    def test_each_channel_has_the_best_step_of_its_own(self, shape, axes, bits):
        # Factors of 1, 10, 100, ... tell the channels apart.
        generator = np.random.default_rng(bits)
        scale_shape = [size if axis in axes else 1 for axis, size in enumerate(shape)]
        scales = 10.0 ** np.arange(np.prod(scale_shape)).reshape(scale_shape)
        weights = generator.normal(size=shape) * scales
        step = arithmetic.optimal_step(tf.constant(weights), bits, axes)
        expected = [
            reference.optimal_step(row, bits)[0] for row in reference.channels(weights, axes)
        ]
        np.testing.assert_allclose(step, np.reshape(expected, scale_shape), rtol=1e-9)

    @pytest.mark.parametrize("bits", [2, 4])
    def test_a_channel_of_zeros_has_step_zero_beside_others(self, bits):
        weights = samples("normal", (20, 3))
        weights[:, 1] = 0
        step = arithmetic.optimal_step(tf.constant(weights), bits, (1,)).numpy()[0]
        assert step[1] == 0
        for channel in (0, 2):
            expected = reference.optimal_step(weights[:, channel], bits)[0]
            assert step[channel] == pytest.approx(expected, rel=1e-9)

    @pytest.mark.parametrize("bits", ALL_BITS)
    def test_one_weight_is_kept_exactly(self, bits):
        step = arithmetic.optimal_step(tf.constant([-0.3]), bits).numpy()
        quantized = arithmetic.quantize(tf.constant([-0.3]), step, bits)
        np.testing.assert_allclose(quantized, [-0.3], rtol=1e-6)

    @pytest.mark.parametrize("bits", ALL_BITS)
    def test_weights_on_a_full_grid_are_kept_exactly(self, bits):
        codes = np.arange(-reference.largest_code(bits), reference.largest_code(bits) + 1)
        step = arithmetic.optimal_step(tf.constant(0.125 * codes), bits).numpy()
        np.testing.assert_allclose(step, [0.125], rtol=1e-12)

    @pytest.mark.parametrize("bits", ALL_BITS)
    @pytest.mark.parametrize("exponent", [-60, -1, 1, 60])
    def test_scales_with_the_weights(self, bits, exponent):
        weights = tf.constant(samples("normal", (41,)).astype(np.float32))
        factor = 2.0**exponent
        scaled = arithmetic.optimal_step(weights * factor, bits)
        np.testing.assert_array_equal(scaled, arithmetic.optimal_step(weights, bits) * factor)

    @pytest.mark.parametrize("bits", ALL_BITS)
    def test_signs_and_order_do_not_matter(self, bits):
        weights = samples("heavy_tailed", (41,))
        turned = np.random.default_rng(1).permutation(-weights)
        np.testing.assert_allclose(
            arithmetic.optimal_step(tf.constant(turned), bits),
            arithmetic.optimal_step(tf.constant(weights), bits),
            rtol=1e-12,
        )

    @pytest.mark.parametrize("bits", [2, 3, 4])
    def test_equals_the_closed_form_for_gaussian_weights(self, bits):
        # Quantiles at the middles of equal shares: a Gaussian sample without noise.
        count, sigma = 200_000, 0.05
        weights = sigma * stats.norm.ppf((np.arange(count) + 0.5) / count)
        thresholds = np.arange(1, reference.largest_code(bits) + 1) - 0.5

        def error(step: float) -> float:
            """E(w - Q(w))² for σ = 1, from E|w|·1[|w| ≥ t] = 2φ(t) and P(|w| ≥ t) = 2(1 - Φ(t))."""
            product = 2 * stats.norm.pdf(thresholds * step).sum()
            square = (2 * thresholds * 2 * stats.norm.sf(thresholds * step)).sum()
            return 1 - 2 * step * product + step**2 * square

        best = optimize.minimize_scalar(error, bounds=(0.1, 2), options={"xatol": 1e-9})
        step = arithmetic.optimal_step(tf.constant(weights), bits).numpy()[0]
        assert step / sigma == pytest.approx(best.x, abs=2e-3)
        quantized = arithmetic.quantize(tf.constant(weights), step, bits).numpy()
        assert np.mean((weights - quantized) ** 2) / sigma**2 == pytest.approx(best.fun, abs=1e-4)
        if bits == 2:
            assert best.x == pytest.approx(1.22, abs=5e-3)
            assert best.fun == pytest.approx(0.190, abs=5e-4)
            assert np.mean(quantized == 0) == pytest.approx(0.46, abs=2e-3)
        if bits == 3:
            assert best.x == pytest.approx(0.65, abs=5e-3)

    @pytest.mark.parametrize("bits", [2, 3, 8])
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_weights_that_are_not_finite_are_refused(self, value, bits):
        with pytest.raises(tf.errors.InvalidArgumentError, match="must be finite"):
            arithmetic.optimal_step(tf.constant([1.0, value, 2.0]), bits)

    @pytest.mark.parametrize("bits", [2, 3, 8])
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_keeps_the_dtype_and_gives_the_same_in_a_graph(self, dtype, bits):
        weights = tf.constant(samples("normal", (30, 4)).astype(dtype))
        eager = arithmetic.optimal_step(weights, bits, [1])
        graph = tf.function(lambda w: arithmetic.optimal_step(w, bits, [1]))(weights)
        assert eager.dtype == graph.dtype == dtype
        np.testing.assert_allclose(graph, eager, rtol=1e-7)

    def test_ternary_compiles_under_xla(self):
        weights = samples("normal", (30, 4)).astype(np.float32)
        compiled = tf.function(lambda w: arithmetic.optimal_step(w, 2, [1]), jit_compile=True)
        expected = reference.steps(weights, 2, (1,))
        np.testing.assert_allclose(compiled(tf.constant(weights)), expected, rtol=1e-6)


class TestFollowStep:
    @pytest.mark.parametrize("jit_compile", [False, True])
    def test_ternary_is_the_optimum_whatever_the_last_step(self, jit_compile):
        weights = samples("heavy_tailed", (3, 3, 2, 4)).astype(np.float32)
        follow = tf.function(arithmetic.follow_step, jit_compile=jit_compile)
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
        step = arithmetic.follow_step(tf.constant(weights), tf.constant([last], tf.float64), bits)
        before = reference.squared_error(weights, last, bits)
        after = reference.squared_error(weights, step.numpy()[0], bits)
        assert after <= before + 1e-12 * (weights**2).sum()

    @pytest.mark.parametrize("bits", range(3, 9))
    def test_the_optimum_stays(self, bits):
        weights = tf.constant(samples("normal", (30, 4)))
        optimum = arithmetic.optimal_step(weights, bits, [1])
        step = arithmetic.follow_step(weights, optimum, bits)
        np.testing.assert_allclose(step, optimum, rtol=1e-9)

    @pytest.mark.parametrize("jit_compile", [False, True])
    def test_is_two_rounds_of_lloyds_algorithm(self, jit_compile):
        weights = samples("normal", (30, 4)).astype(np.float32)
        step = np.full((1, 4), 0.4, np.float32)
        follow = tf.function(arithmetic.follow_step, jit_compile=jit_compile)
        actual = follow(tf.constant(weights), tf.constant(step), 3)
        for _ in range(2):
            codes = reference.codes(weights, step, 3)
            step = ((weights * codes).sum(0) / (codes**2).sum(0))[None]
        np.testing.assert_allclose(actual, step, rtol=1e-5)

    def test_channels_follow_alone(self):
        weights = samples("normal", (30, 2)) * [1.0, 100.0]
        last = arithmetic.optimal_step(tf.constant(weights), 4, [1])
        moved = weights + np.array([0.05, 0.0])
        step = arithmetic.follow_step(tf.constant(moved), last, 4).numpy()[0]
        assert step[0] != last.numpy()[0, 0]
        assert step[1] == pytest.approx(last.numpy()[0, 1], rel=1e-12)

    def test_a_step_of_zero_stays_zero_above_two_bits(self):
        step = arithmetic.follow_step(tf.ones([3, 2]), tf.constant([[0.0, 1.0]]), 3)
        np.testing.assert_array_equal(step, [[0, 1]])


@pytest.mark.parametrize(
    ("axes", "expected"), [(None, [1, 1, 1]), ((2,), [1, 1, 4]), ((0, 2), [2, 1, 4])]
)
def test_step_shape_keeps_the_channel_axes(axes, expected):
    assert arithmetic.step_shape((2, 3, 4), axes) == expected
