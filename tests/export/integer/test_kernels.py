"""Kernels between tensors of given steps, in closed form."""

import numpy as np
import pytest

from tfqkd.export import ExportError
from tfqkd.export.integer.kernels import Affine


def affine(codes, scales=(0.5, 0.25), bias=(0.0, 0.0)):
    return Affine("layer", np.array(codes), np.array(scales), np.array(bias), 0)


@pytest.mark.parametrize(
    ("codes", "factor"),
    [
        ([[1, -1, 0], [0, 0, 1]], 64),
        ([[-2, 1, 0], [0, 0, 1]], 32),
        ([[-8, 7, 0], [0, 0, 1]], 8),
        ([[7, -7, 0], [0, 0, 1]], 16),
        ([[127, -127, 0], [0, 0, 1]], 1),
        ([[-128, 127, 0], [0, 0, 1]], 1),
    ],
)
def test_codes_are_multiplied_as_far_as_int8_goes_and_values_stay(codes, factor):
    kernel = affine(codes).rounded(np.float32(0.1), np.float32(0.1))
    assert kernel.factor == factor
    np.testing.assert_array_equal(kernel.stored, np.array(codes) * factor)
    held = kernel.stored * kernel.scales[:, None]
    np.testing.assert_array_equal(held, np.array(codes) * [[0.5], [0.25]])


def test_a_bias_is_the_nearest_multiple_of_the_scales_of_weights_and_input():
    kernel = affine([[1, -1], [0, 1]], bias=[1.0, -0.3]).rounded(np.float32(0.25), np.float32(1))
    # Units: 0.5 · 0.25 / 64 and 0.25 · 0.25 / 64.
    np.testing.assert_array_equal(kernel.bias, [512, -307])


def test_a_negative_factor_turns_the_codes_and_the_bias_goes_along():
    made = affine([[1, -1], [0, 1]], bias=[1.0, 2.0]).scaled(
        np.array([-2.0, 3.0]), np.array([0.5, 0.25])
    )
    np.testing.assert_array_equal(made.codes, [[-1, 1], [0, 1]])
    np.testing.assert_array_equal(made.scales, [1.0, 0.75])
    np.testing.assert_array_equal(made.bias, [-1.5, 6.25])


@pytest.mark.parametrize("gain", [0.0, 1e-30, 1e-12])
def test_a_channel_that_has_died_away_is_its_bias(gain):
    made = affine([[1, -1], [1, 1]], bias=[3.0, 3.0]).scaled(np.array([gain, 1.0]), np.zeros(2) + 2)
    kernel = made.rounded(np.float32(0.1), np.float32(0.05))
    assert not kernel.codes[0].any() and kernel.codes[1].all()
    units = kernel.scales.astype(float) * 0.1
    np.testing.assert_allclose(kernel.bias * units, [2.0 + 3 * gain, 5.0], rtol=0, atol=1e-3)
    # Runtimes refuse a ratio of the scales of products and output that is next to nothing.
    assert (units / 0.05 >= 2.0**-17).all()


def test_a_large_bias_takes_a_smaller_factor():
    # 255 · 2 weights · 1e-7 reach a fifth of a step of 2.5e-4; 32 units of the bias are beyond 2^30.
    kernel = affine([[1, -1]], [1e-7], [3.0]).rounded(np.float32(1), np.float32(2.5e-4))
    assert kernel.factor == 32
    assert abs(int(kernel.bias[0]) * float(kernel.scales[0]) - 3.0) < 1e-8


def test_a_bias_beyond_int32_is_refused():
    with pytest.raises(
        ExportError, match=r"must fit 32 bits .*layer 'layer', with a bias of 1\.0e"
    ):
        affine([[1, -1]], [1e-7], [1e4]).rounded(np.float32(1), np.float32(2.5e-4))


def test_a_lowest_code_that_a_negative_factor_turns_is_refused():
    turned = affine([[-128, 3], [1, 1]]).scaled(np.array([-1.0, 1.0]), np.zeros(2))
    with pytest.raises(ExportError, match="a negative factor, which makes 128 of"):
        turned.rounded(np.float32(1), np.float32(1))


def test_a_kernel_on_no_grid_is_refused():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 2, 4)).astype(np.float32)
    with pytest.raises(ExportError, match=r"layer 'a', whose kernel is not.*DeployScheme"):
        Affine.of("a", kernel, None, 3, (3, 0, 1, 2))
