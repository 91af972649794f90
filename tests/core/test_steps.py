import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from scipy import optimize, stats

from tfqkd.compat import tf
from tfqkd.core import steps, uniform

from . import reference
from .arrays import BITS, floats
from .distributions import KINDS, samples

ALL_BITS = range(2, 9)


class TestLargestCode:
    def test_is_half_of_all_levels_but_zero(self):
        assert [steps.largest_code(bits) for bits in ALL_BITS] == [1, 3, 7, 15, 31, 63, 127]

    @pytest.mark.parametrize("bits", [1, 9, 0, -2, True, 2.0, "2", None])
    def test_other_widths_are_refused(self, bits):
        with pytest.raises(
            ValueError, match=r"`bits` must be an integer from 2 to 8\. Received: bits="
        ):
            steps.largest_code(bits)


class TestOptimalStep:
    @pytest.mark.parametrize("bits", ALL_BITS)
    @pytest.mark.parametrize("kind", KINDS)
    def test_no_step_at_all_has_a_smaller_error(self, kind, bits):
        weights = samples(kind, (41,), seed=bits)
        step = steps.optimal_step(weights, bits)
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
        step = steps.optimal_step(weights, bits)[0]
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
        step = steps.optimal_step(weights, bits, axes)
        expected = [
            reference.optimal_step(row, bits)[0] for row in reference.channels(weights, axes)
        ]
        np.testing.assert_allclose(step, np.reshape(expected, scale_shape), rtol=1e-9)

    @pytest.mark.parametrize("bits", [2, 4])
    def test_a_channel_of_zeros_has_step_zero_beside_others(self, bits):
        weights = samples("normal", (20, 3))
        weights[:, 1] = 0
        step = steps.optimal_step(weights, bits, (1,))[0]
        assert step[1] == 0
        for channel in (0, 2):
            expected = reference.optimal_step(weights[:, channel], bits)[0]
            assert step[channel] == pytest.approx(expected, rel=1e-9)

    @pytest.mark.parametrize("bits", ALL_BITS)
    def test_one_weight_is_kept_exactly(self, bits):
        step = steps.optimal_step([-0.3], bits)
        quantized = uniform.quantize(tf.constant([-0.3]), step, bits)
        np.testing.assert_allclose(quantized, [-0.3], rtol=1e-6)

    @pytest.mark.parametrize("bits", ALL_BITS)
    def test_weights_on_a_full_grid_are_kept_exactly(self, bits):
        codes = np.arange(-reference.largest_code(bits), reference.largest_code(bits) + 1)
        step = steps.optimal_step(0.125 * codes, bits)
        np.testing.assert_allclose(step, [0.125], rtol=1e-12)

    @pytest.mark.parametrize("bits", ALL_BITS)
    @pytest.mark.parametrize("exponent", [-60, -1, 1, 60])
    def test_scales_with_the_weights(self, bits, exponent):
        weights = samples("normal", (41,)).astype(np.float32)
        factor = 2.0**exponent
        scaled = steps.optimal_step(weights * np.float32(factor), bits)
        np.testing.assert_array_equal(scaled, steps.optimal_step(weights, bits) * factor)

    @pytest.mark.parametrize("bits", ALL_BITS)
    def test_signs_and_order_do_not_matter(self, bits):
        weights = samples("heavy_tailed", (41,))
        turned = np.random.default_rng(1).permutation(-weights)
        np.testing.assert_allclose(
            steps.optimal_step(turned, bits),
            steps.optimal_step(weights, bits),
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
        step = steps.optimal_step(weights, bits)[0]
        assert step / sigma == pytest.approx(best.x, abs=2e-3)
        quantized = uniform.quantize(weights, step, bits)
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
        with pytest.raises(ValueError, match="must be finite"):
            steps.optimal_step([1.0, value, 2.0], bits)

    @pytest.mark.parametrize("bits", [2, 3, 8])
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_keeps_the_dtype_and_takes_tensors(self, dtype, bits):
        weights = samples("normal", (30, 4)).astype(dtype)
        step = steps.optimal_step(weights, bits, [1])
        assert step.dtype == dtype
        np.testing.assert_array_equal(steps.optimal_step(tf.constant(weights), bits, [1]), step)


class TestLsqStep:
    def test_is_twice_the_mean_magnitude_over_the_root_of_the_largest_code(self):
        weights = samples("normal", (5, 3)).astype(np.float32)
        step = steps.lsq_step(weights, 7)
        assert step.dtype == np.float32
        np.testing.assert_allclose(step, [[2 * np.abs(weights).mean() / 7**0.5]], rtol=1e-6)
        by_channel = steps.lsq_step(weights, 7, [1])
        np.testing.assert_allclose(by_channel[0], 2 * np.abs(weights).mean(0) / 7**0.5, rtol=1e-6)

    def test_of_zeros_is_the_smallest(self):
        zeros = np.zeros(4, np.float32)
        np.testing.assert_array_equal(steps.lsq_step(zeros, 7), np.float32([steps.SMALLEST_STEP]))


class TestTtqScales:
    def test_are_the_mean_magnitudes_beyond_a_twentieth_of_the_largest(self):
        positive, negative = steps.ttq_scales(np.float32([0.1, 0.3, 2.0, -0.09, -0.4, 0.0]))
        assert float(positive) == pytest.approx((0.3 + 2.0) / 2)
        assert float(negative) == pytest.approx(0.4)
        assert positive.dtype == np.float32

    def test_a_side_without_weights_has_scale_zero(self):
        assert steps.ttq_scales(np.float32([1.0, 2.0])) == (pytest.approx(1.5), 0)
        assert steps.ttq_scales(np.zeros(3, np.float32)) == (0, 0)


@pytest.mark.parametrize(
    ("axes", "expected"), [(None, [1, 1, 1]), ((2,), [1, 1, 4]), ((0, 2), [2, 1, 4])]
)
def test_step_shape_keeps_the_channel_axes(axes, expected):
    assert steps.step_shape((2, 3, 4), axes) == expected
