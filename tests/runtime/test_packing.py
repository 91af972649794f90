import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfqkd.runtime.packing import pack, unpack, width_of


@pytest.mark.parametrize(
    ("codes", "bits", "expected"),
    [
        # 01, 11, 00, 10 from the lowest bits up; then 01 and zeros.
        ([1, -1, 0, -2, 1], 2, [0b10_00_11_01, 0b01]),
        ([7, -7, -8], 4, [0b1001_0111, 0b1000]),
        ([127, -1, -128], 8, [127, 255, 128]),
    ],
)
def test_the_first_code_lies_in_the_lowest_bits(codes, bits, expected):
    packed = pack(np.array(codes, np.int8), bits)
    assert packed.dtype == np.uint8 and packed.tolist() == expected
    np.testing.assert_array_equal(unpack(packed, bits, len(codes)), codes)


@given(st.sampled_from([2, 4, 8]), st.data())
def test_codes_come_back_as_they_were(bits, data):
    top = 2 ** (bits - 1)
    codes = np.array(data.draw(st.lists(st.integers(-top, top - 1), min_size=1)), np.int8)
    packed = pack(codes, bits)
    assert len(packed) == int(np.ceil(codes.size * bits / 8))
    np.testing.assert_array_equal(unpack(packed, bits, codes.size), codes)


def test_a_length_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"9 codes of 2 bits take 3 bytes\. Received: 2 bytes"):
        unpack(np.zeros(2, np.uint8), 2, 9)


@pytest.mark.parametrize(
    ("lowest", "highest", "bits"),
    [(0, 0, 2), (-2, 1, 2), (-1, 2, 4), (-8, 7, 4), (-7, 8, 8), (-9, 0, 8), (-128, 127, 8)],
)
def test_the_fewest_bits_are_chosen(lowest, highest, bits):
    assert width_of(lowest, highest) == bits


@pytest.mark.parametrize(("lowest", "highest"), [(-129, 0), (0, 128)])
def test_codes_beyond_eight_bits_are_refused(lowest, highest):
    with pytest.raises(ValueError, match=f"Received: {lowest} to {highest}"):
        width_of(lowest, highest)
