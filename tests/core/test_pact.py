import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfqkd.compat import tf
from tfqkd.core import pact

from . import reference
from .arrays import BITS, SEEDS, VALUES, upstream

CLIPS = st.floats(2**-6, 8, width=32).map(np.float32)
SIGNED = st.booleans()


@given(VALUES, CLIPS, BITS, SIGNED)
def test_value_equals_the_formula(values, clip, bits, signed):
    levels = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
    assert pact.pact_levels(bits, signed) == levels
    actual = pact.pact(tf.constant(values), tf.constant(clip), bits, signed).numpy()
    place = np.clip(values.astype(np.float64), -clip, clip) * levels / clip
    edge = np.abs(np.abs(place - np.floor(place)) - 0.5) < 1e-4
    expected = reference.pact(values, clip, levels, signed)
    np.testing.assert_allclose(actual[~edge], expected[~edge], rtol=1e-5, atol=1e-6 * clip)
    assert actual.max() <= clip * (1 + 1e-6)
    assert actual.min() >= (-clip * (1 + 1e-6) if signed else 0)


@given(VALUES, CLIPS, BITS, SIGNED)
def test_value_is_idempotent(values, clip, bits, signed):
    once = pact.pact(tf.constant(values), tf.constant(clip), bits, signed)
    twice = pact.pact(once, tf.constant(clip), bits, signed)
    np.testing.assert_array_equal(twice, once)


@given(VALUES, CLIPS, BITS, SIGNED, st.integers(-10, 10))
def test_value_scales_with_values_and_clipping_value(values, clip, bits, signed, exponent):
    values, factor = np.where(np.abs(values) < 1e-9, 0, values), np.float32(2.0**exponent)
    np.testing.assert_array_equal(
        pact.pact(tf.constant(values * factor), tf.constant(clip * factor), bits, signed),
        pact.pact(tf.constant(values), tf.constant(clip), bits, signed) * factor,
    )


@given(VALUES, CLIPS, BITS)
def test_signed_values_are_odd(values, clip, bits):
    np.testing.assert_array_equal(
        pact.pact(tf.constant(-values), tf.constant(clip), bits, True),
        -pact.pact(tf.constant(values), tf.constant(clip), bits, True),
    )


@given(VALUES, CLIPS, BITS, SIGNED, SEEDS)
def test_only_clipped_values_move_the_clipping_value(values, clip, bits, signed, seed):
    factor = upstream(seed, values.shape)
    inputs = [tf.constant(values), tf.constant(clip)]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = pact.pact(*inputs, bits, signed)
    to_values, to_clip = tape.gradient(value, inputs, factor)
    over, under = values >= clip, signed & (values <= -clip)
    inside = (values > (-clip if signed else 0)) & ~over
    np.testing.assert_array_equal(to_values, np.where(inside, factor, 0))
    expected = factor[over].sum(dtype=np.float64) - factor[under].sum(dtype=np.float64)
    assert float(to_clip) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("value", "expected"), [(-1.0, 0.0), (0.5, 0.0), (1.9, 0.0), (2.0, 1.0), (7.0, 1.0)]
)
def test_the_published_gradient_is_one_from_the_clipping_value_on(value, expected):
    clip = tf.constant(2.0)
    with tf.GradientTape() as tape:
        tape.watch(clip)
        quantized = pact.pact(tf.constant([value]), clip, 2)
    assert float(tape.gradient(quantized, clip)) == expected


@pytest.mark.parametrize("bits", [1, 9, True])
def test_other_widths_are_refused(bits):
    with pytest.raises(ValueError, match="`bits` must be an integer from 2 to 8"):
        pact.pact_levels(bits)
