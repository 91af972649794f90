import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfqkd.compat import tf
from tfqkd.core import learned
from tfqkd.core.ops import NUMPY
from tfqkd.fronts.tfmot.ops import OPS

from . import reference
from .arrays import BITS, SEEDS, STEPS, VALUES, upstream

SIGNED = st.booleans()


def value_and_gradients(values, step, lower, upper, factor, scale=1.0):
    inputs = [tf.convert_to_tensor(values), tf.convert_to_tensor(step)]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = learned.lsq(*inputs, lower, upper, scale)
    return value, *tape.gradient(value, inputs, factor)


@pytest.mark.parametrize(
    ("bits", "signed", "expected"),
    [(2, True, (-2, 1)), (2, False, (0, 3)), (8, True, (-128, 127)), (8, False, (0, 255))],
)
def test_codes_are_those_of_the_paper(bits, signed, expected):
    assert learned.code_range(bits, signed) == expected


@pytest.mark.parametrize("bits", [1, 9, 2.0, True])
def test_other_widths_are_refused(bits):
    with pytest.raises(ValueError, match="`bits` must be an integer from 2 to 8"):
        learned.code_range(bits)


@given(VALUES, STEPS, BITS, SIGNED)
def test_value_equals_the_formula_and_is_idempotent(values, step, bits, signed):
    lower, upper = learned.code_range(bits, signed)
    once = learned.lsq(tf.constant(values), tf.constant(step), lower, upper, 1.0)
    np.testing.assert_array_equal(once, reference.lsq(values, step, lower, upper))
    twice = learned.lsq(once, tf.constant(step), lower, upper, 1.0)
    np.testing.assert_array_equal(twice, once)


@given(VALUES, STEPS, BITS, st.integers(-10, 10))
def test_value_scales_with_values_and_step(values, step, bits, exponent):
    lower, upper = learned.code_range(bits)
    values, factor = np.where(np.abs(values) < 1e-9, 0, values), np.float32(2.0**exponent)
    np.testing.assert_array_equal(
        learned.lsq(tf.constant(values * factor), tf.constant(step * factor), lower, upper, 1),
        learned.lsq(tf.constant(values), tf.constant(step), lower, upper, 1) * factor,
    )


@given(VALUES, STEPS, BITS)
def test_values_within_the_smaller_side_are_symmetric(values, step, bits):
    lower, upper = learned.code_range(bits)
    values = np.clip(values, -step * upper, step * upper)
    np.testing.assert_array_equal(
        learned.lsq(tf.constant(-values), tf.constant(step), lower, upper, 1),
        -learned.lsq(tf.constant(values), tf.constant(step), lower, upper, 1),
    )


@given(VALUES, STEPS, BITS, SIGNED, SEEDS)
def test_gradients_equal_the_published_ones_value_by_value(values, step, bits, signed, seed):
    lower, upper = learned.code_range(bits, signed)
    factor = upstream(seed, values.shape)
    _, to_values, to_step = value_and_gradients(values, step, lower, upper, factor, scale=0.25)
    ratio = values / step
    expected = np.where((ratio > lower) & (ratio < upper), factor, 0)
    np.testing.assert_array_equal(to_values, expected)
    by_step = 0.25 * reference.lsq_step_gradient(values, step, lower, upper, factor)
    assert float(to_step) == pytest.approx(by_step, rel=1e-4, abs=1e-3 * upper)


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [(-9.0, -2), (-2.0, -2), (-1.75, -0.25), (-0.25, 0.25), (0.25, -0.25), (0.75, 0.25), (1.0, 1)],
)
def test_the_gradient_of_a_2_bit_step_is_the_sawtooth_of_the_paper(ratio, expected):
    # Figure 2 of the paper, at points that float32 holds exactly; Q_N = 2, Q_P = 1.
    values = np.float32([0.5 * ratio])
    _, _, to_step = value_and_gradients(values, np.float32(0.5), -2, 1, np.ones(1, np.float32))
    assert float(to_step) == expected


@given(VALUES.filter(lambda array: array.ndim > 1), BITS, SEEDS, st.data())
def test_channels_have_values_and_gradients_of_their_own(values, bits, seed, data):
    lower, upper = learned.code_range(bits)
    factor, channels = upstream(seed, values.shape), values.shape[-1]
    steps = data.draw(hnp.arrays(np.float32, channels, elements=STEPS))
    shaped = steps.reshape([1] * (values.ndim - 1) + [channels])
    value, _, to_step = value_and_gradients(values, shaped, lower, upper, factor)
    assert to_step.shape == shaped.shape
    for channel, step in enumerate(steps):
        one, up = values[..., channel], factor[..., channel]
        np.testing.assert_array_equal(value[..., channel], reference.lsq(one, step, lower, upper))
        expected = reference.lsq_step_gradient(one, step, lower, upper, up)
        actual = float(to_step[..., channel].numpy().item())
        assert actual == pytest.approx(expected, rel=1e-4, abs=1e-3 * upper)


def test_the_scale_of_the_gradient_is_that_of_the_paper():
    for ops in (NUMPY, OPS):
        assert float(learned.gradient_scale(576, 7, ops)) == pytest.approx((576 * 7) ** -0.5)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_value_and_gradients_are_the_same_in_a_graph(jit_compile):
    values, factor = upstream(0, (50,)), upstream(1, (50,))
    compiled = tf.function(value_and_gradients, jit_compile=jit_compile)
    actual = compiled(values, np.float32(0.25), -4, 3, factor)
    expected = value_and_gradients(values, np.float32(0.25), -4, 3, factor)
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
