import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tfqkd.quantization import arithmetic

BITS = range(2, 9)
ALL_BITS = pytest.mark.parametrize("bits", BITS)

weight_arrays = hnp.arrays(
    np.float32,
    st.integers(1, 40),
    elements=st.floats(-100, 100, width=32).map(lambda w: 0.0 if abs(w) < 1e-4 else w),
)
few_examples = settings(max_examples=40, deadline=None)


def numpy_codes(weights, step, bits):
    largest = 2 ** (bits - 1) - 1
    codes = [
        np.sign(w) * min(np.floor(abs(w) / step + np.float32(0.5)), largest) if step else 0.0
        for w in weights.ravel()
    ]
    return np.array(codes, np.float32).reshape(weights.shape)


def least_error(weights, bits):
    """The least error that any step gives, by trying every interval between two code changes."""
    w = np.abs(weights.astype(np.float64)).ravel()
    largest = 2 ** (bits - 1) - 1
    points = np.unique(np.concatenate([w / (k - 0.5) for k in range(1, largest + 1)]))
    points = points[points > 0]
    best = np.sum(w * w)
    for step in points:
        for nudged in (step * (1 - 1e-9), step):
            q = np.minimum(np.floor(w / nudged + 0.5), largest)
            if q.any():
                best = min(best, np.sum((w - q * (w @ q) / (q @ q)) ** 2))
    return best


def error(weights, step, bits):
    step = np.float64(step)
    w = np.abs(weights.astype(np.float64))
    q = np.minimum(np.floor(w / step + 0.5), 2 ** (bits - 1) - 1) if step else 0 * w
    return np.sum((w - step * q) ** 2)


@ALL_BITS
def test_codes_equal_the_formula(bits):
    weights = np.random.default_rng(bits).normal(size=200).astype(np.float32)
    for step in (0.01, 0.3, 5.0):
        got = arithmetic.codes(tf.constant(weights), tf.constant([step]), bits).numpy()
        np.testing.assert_array_equal(got, numpy_codes(weights, np.float32(step), bits))


def test_ties_round_away_from_zero():
    got = arithmetic.codes(tf.constant([0.5, -0.5, 0.49999, 1.5, -1.5]), tf.constant([1.0]), 3)
    np.testing.assert_array_equal(got, [1, -1, 0, 2, -2])


@few_examples
@given(weight_arrays, st.integers(2, 8), st.floats(2.0**-6, 64, width=32))
def test_quantize_gives_exact_symmetric_idempotent_levels(weights, bits, step):
    step = np.float32(step)
    quantized = arithmetic.quantize(tf.constant(weights), tf.constant([step]), bits).numpy()
    codes = numpy_codes(weights, step, bits)
    np.testing.assert_array_equal(quantized, step * codes)
    assert np.abs(codes).max() <= 2 ** (bits - 1) - 1
    negated = arithmetic.quantize(tf.constant(-weights), tf.constant([step]), bits).numpy()
    np.testing.assert_array_equal(negated, -quantized)
    again = arithmetic.quantize(tf.constant(quantized), tf.constant([step]), bits).numpy()
    np.testing.assert_array_equal(again, quantized)


def test_gradient_is_the_upstream_gradient_also_where_weights_are_clipped():
    weights = tf.Variable([-9.0, -0.2, 0.0, 0.7, 9.0])
    upstream = tf.constant([1.0, -2.0, 3.0, -4.0, 5.0])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(upstream * arithmetic.quantize(weights, tf.constant([1.0]), 2))
    np.testing.assert_array_equal(tape.gradient(loss, weights), upstream)


@few_examples
@given(weight_arrays, st.integers(2, 8))
def test_optimal_step_reaches_the_least_error_of_brute_force(weights, bits):
    step = float(arithmetic.optimal_step(tf.constant(weights, tf.float64), bits)[0])
    assert error(weights, step, bits) <= least_error(weights, bits) * (1 + 1e-9) + 1e-12


@ALL_BITS
@pytest.mark.parametrize("draw", ["normal", "standard_cauchy", "laplace"])
def test_optimal_step_of_random_weights_reaches_the_least_error(bits, draw):
    weights = getattr(np.random.default_rng(bits), draw)(size=60)
    step = float(arithmetic.optimal_step(tf.constant(weights), bits)[0])
    assert error(weights, step, bits) <= least_error(weights, bits) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("shape", "axes"), [((3, 3, 4, 5), (3,)), ((3, 3, 4, 5), (2,)), ((3, 3, 4, 2), (2, 3)), ((7, 3), (1,))]
)
@pytest.mark.parametrize("bits", [2, 3, 5])
def test_each_channel_has_the_step_that_it_would_have_alone(shape, axes, bits):
    weights = np.random.default_rng(1).normal(size=shape)
    steps = arithmetic.optimal_step(tf.constant(weights), bits, axes).numpy()
    assert steps.shape == tuple(size if axis in axes else 1 for axis, size in enumerate(shape))
    for index in np.ndindex(*(shape[axis] for axis in axes)):
        where = [slice(None)] * len(shape)
        for axis, i in zip(axes, index, strict=True):
            where[axis] = i
        alone = weights[tuple(where)]
        step = steps[tuple(where)].item()
        assert error(alone, step, bits) <= least_error(alone, bits) * (1 + 1e-9)


@ALL_BITS
def test_steps_of_degenerate_weights(bits):
    zeros = tf.zeros([4])
    np.testing.assert_array_equal(arithmetic.optimal_step(zeros, bits), [0.0])
    np.testing.assert_array_equal(arithmetic.quantize(zeros, tf.constant([0.0]), bits), zeros)
    for constant in (1.0, -3.0):
        weights = tf.fill([5], constant)
        step = arithmetic.optimal_step(weights, bits)
        np.testing.assert_allclose(arithmetic.quantize(weights, step, bits), weights, rtol=1e-6)


@ALL_BITS
@pytest.mark.parametrize("power", [-90, -20, 0, 20, 90])
def test_the_step_scales_with_the_weights_exactly(bits, power):
    weights = np.random.default_rng(0).normal(size=50).astype(np.float32)
    base = arithmetic.optimal_step(tf.constant(weights), bits).numpy()
    scaled = arithmetic.optimal_step(tf.constant(weights * np.float32(2.0**power)), bits).numpy()
    np.testing.assert_array_equal(scaled, base * np.float32(2.0**power))


def test_gaussian_weights_have_the_known_step_zeros_and_error():
    weights = np.random.default_rng(0).normal(size=200_000)
    step = float(arithmetic.optimal_step(tf.constant(weights), 2)[0])
    assert step == pytest.approx(1.22, abs=0.01)
    assert np.mean(np.abs(weights) < step / 2) == pytest.approx(0.46, abs=0.01)
    assert error(weights, step, 2) / weights.size == pytest.approx(0.191, abs=0.002)
    assert float(arithmetic.optimal_step(tf.constant(weights), 3)[0]) == pytest.approx(0.65, abs=0.01)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("bits", [2, 4])
def test_weights_that_are_not_finite_are_refused(bad, bits):
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be finite"):
        arithmetic.optimal_step(tf.constant([1.0, bad]), bits)


@pytest.mark.parametrize("bits", [1, 9, 0, -2, True, 2.0, "2", None])
def test_other_bits_are_refused(bits):
    with pytest.raises(ValueError, match="`bits` must be an integer from 2 to 8"):
        arithmetic.largest_code(bits)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("axes", [None, (1,)])
def test_a_ternary_step_that_follows_is_the_optimum_whatever_it_was(jit_compile, axes):
    weights = tf.constant(np.random.default_rng(3).normal(size=(30, 4)), tf.float32)
    shape = arithmetic.step_shape(weights.shape, axes)
    follow = tf.function(
        lambda step: arithmetic.follow_step(weights, step, 2), jit_compile=jit_compile
    )
    for last in (0.0, 0.1, 100.0):
        np.testing.assert_array_equal(
            follow(tf.fill(shape, last)), arithmetic.optimal_step(weights, 2, axes)
        )


@pytest.mark.parametrize("bits", [3, 4, 8])
@pytest.mark.parametrize("axes", [None, (1,)])
def test_a_step_of_more_bits_that_follows_never_adds_error_and_stays_at_the_optimum(bits, axes):
    weights = np.random.default_rng(4).normal(size=(50, 3))
    best = arithmetic.optimal_step(tf.constant(weights), bits, axes)
    np.testing.assert_allclose(arithmetic.follow_step(tf.constant(weights), best, bits), best, rtol=1e-12)
    moved = tf.constant(weights + 0.05)
    followed = arithmetic.follow_step(moved, best, bits)

    def total(step):
        return float(tf.reduce_sum((moved - arithmetic.quantize(moved, step, bits)) ** 2))

    assert total(followed) <= total(best)
