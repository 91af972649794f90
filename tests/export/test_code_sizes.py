import numpy as np
import pytest

from tfqkd.compat import keras
from tfqkd.export.code_sizes import packings
from tfqkd.export.source import Source


def packing_of(kernel):
    dense = keras.layers.Dense(kernel.shape[1], name="dense")
    model = keras.Sequential([keras.Input((2, 2, 3)), keras.layers.Flatten(), dense])
    dense.kernel.assign(kernel)
    return packings(Source.prepare(model))


def test_equally_frequent_ternary_codes_have_the_entropy_of_log2_3():
    kernel = np.tile(0.5 * np.repeat([-1, 0, 1], 4)[:, None], (1, 5))
    (packing,) = packing_of(kernel)
    assert (packing.layer, packing.weights, packing.bits) == ("dense", 60, 2)
    assert packing.packed_bytes == 15
    assert packing.entropy_bits == pytest.approx(np.log2(3))
    assert packing.entropy_bytes == pytest.approx(60 * np.log2(3) / 8)


def test_asymmetric_levels_are_one_ternary_code():
    codes = np.tile(np.repeat([-1, 0, 0, 1], 3)[:, None], (1, 5))
    (packing,) = packing_of(np.where(codes > 0, 0.3217, 0.1734) * codes)
    assert (packing.bits, packing.packed_bytes) == (2, 15)
    assert packing.entropy_bits == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("codes", "bits"),
    [([-2, -1, 0, 1], 2), ([-3, -1, 1, 3], 2), ([-3, -2, -1, 0, 1, 2, 3], 3), ([-1, 1], 2)],
)
def test_codes_are_packed_in_the_bits_that_tell_them_apart(codes, bits):
    (packing,) = packing_of(0.5 * np.resize(codes, (5, 12)).T)
    assert (packing.bits, packing.packed_bytes) == (bits, 60 * bits / 8)


def test_float_kernels_have_no_packing():
    assert packing_of(np.random.default_rng(0).normal(size=(12, 5))) == []
