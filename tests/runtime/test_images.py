import numpy as np
import pytest

from tfqkd.runtime.images import batches, checked_images


def test_pixels_become_float32_of_the_same_value():
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3) * 11
    checked = checked_images(pixels, (2, 2, 3))
    assert checked.dtype == np.float32
    np.testing.assert_array_equal(checked, pixels)


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (64, [64]), (130, [64, 64, 2])])
def test_batches_cover_all_images_in_order(count, sizes):
    images = np.arange(count)
    parts = list(batches(images))
    assert [len(part) for part in parts] == sizes
    np.testing.assert_array_equal(np.concatenate(parts), images)
