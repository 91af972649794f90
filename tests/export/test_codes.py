import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfqkd.export.codes import find_codes

FLOAT = np.float32


def test_ternary_channels_get_their_own_value_as_scale():
    kernel = np.array([[0.3, -0.3, 0.0], [-0.007, 0.0, 0.007]], FLOAT)
    coded = find_codes(kernel, axis=0)
    np.testing.assert_array_equal(coded.codes, [[1, -1, 0], [-1, 0, 1]])
    np.testing.assert_array_equal(coded.scales, np.array([0.3, 0.007], FLOAT))
    assert coded.codes.dtype == np.int8 and coded.scales.dtype == np.float32
    assert coded.max_code == 1


def test_channel_axis_may_be_the_last():
    codes = np.random.default_rng(0).integers(-1, 2, (1, 3, 3, 6))
    codes[0, 0, 0] = 1
    scales = np.linspace(0.01, 5, 6, dtype=FLOAT)
    coded = find_codes(codes.astype(FLOAT) * scales, axis=3)
    np.testing.assert_array_equal(coded.codes, codes)
    np.testing.assert_array_equal(coded.scales, scales)
    assert coded.axis == 3


def test_dead_channel_has_codes_zero_and_scale_one():
    coded = find_codes(np.array([[0.0, 0.0], [0.5, 0.0]], FLOAT), axis=0)
    np.testing.assert_array_equal(coded.codes, [[0, 0], [1, 0]])
    np.testing.assert_array_equal(coded.scales, np.array([1.0, 0.5], FLOAT))


def test_levels_without_neighbours_are_found():
    # The smallest gap between two weights here is two steps.
    coded = find_codes(np.array([[0.03, 0.05, -0.03, 0.0]], FLOAT), axis=0)
    np.testing.assert_array_equal(coded.codes, [[3, 5, -3, 0]])
    np.testing.assert_allclose(coded.scales, [0.01], rtol=1e-6)


def test_common_divisors_are_taken_out():
    coded = find_codes(np.array([[0.04, -0.08, 0.12]], FLOAT), axis=0)
    np.testing.assert_array_equal(coded.codes, [[1, -2, 3]])


@settings(max_examples=50, deadline=None)
@given(
    codes=st.lists(st.integers(-127, 127), min_size=1, max_size=40),
    step=st.floats(2.0**-10, 4.0, width=32),
    factor=st.floats(2.0**-10, 64.0, width=32),
)
def test_codes_survive_a_step_and_a_batch_norm_factor(codes, step, factor):
    # Code 1 leaves no common divisor.
    codes = np.array([[1, *codes]])
    kernel = (codes.astype(FLOAT) * FLOAT(step)) * -FLOAT(factor)
    coded = find_codes(kernel, axis=0)
    np.testing.assert_array_equal(coded.codes, -codes)
    np.testing.assert_allclose(coded.codes * coded.scales[:, None], kernel, rtol=1e-6)


@pytest.mark.parametrize(("bits", "found"), [(2, False), (3, False), (4, True), (8, True)])
def test_codes_must_fit_the_bits(bits, found):
    kernel = np.arange(-7, 8, dtype=FLOAT)[None] * FLOAT(0.1)
    assert (find_codes(kernel, axis=0, bits=bits) is not None) == found


@pytest.mark.parametrize(
    ("codes", "bits"),
    [
        ([-2, -1, 0, 1], 2),
        ([2, 1, 0, -1], 4),  # A negative factor of batch norm turns a channel.
        ([-8, 1, 7], 4),
        ([-128, 1, 127], 8),
    ],
)
def test_the_lowest_code_has_no_opposite(codes, bits):
    coded = find_codes(np.array([codes, [0, 0, 0, 1][-len(codes) :]], FLOAT) * FLOAT(0.3), axis=0)
    assert coded.codes[0].tolist() == codes
    assert (coded.bits, coded.max_code) == (bits, abs(codes[0]))


def test_the_highest_code_of_eight_bits_is_127():
    assert find_codes(np.array([[128, 1, -127]], FLOAT), axis=0) is None


def test_one_free_channel_leaves_the_kernel_without_codes():
    kernel = np.random.default_rng(0).integers(-1, 2, (4, 27)).astype(FLOAT)
    assert find_codes(kernel, axis=0) is not None
    kernel[3] = np.random.default_rng(0).normal(size=27)
    assert find_codes(kernel, axis=0) is None


def test_a_weight_off_its_code_by_more_than_rounding_is_seen():
    kernel = np.array([[0.5, -0.5, 0.5 * (1 - 1e-5)]], FLOAT)
    assert find_codes(kernel, axis=0) is None


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_have_no_codes(value):
    assert find_codes(np.array([[value, 1.0]], FLOAT), axis=0) is None
