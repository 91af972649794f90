import numpy as np

from tfqkd.runtime.images import checked_images


def test_pixels_become_float32_of_the_same_value():
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3) * 11
    checked = checked_images(pixels, (2, 2, 3))
    assert checked.dtype == np.float32
    np.testing.assert_array_equal(checked, pixels)
