import numpy as np
import pytest

from tfqkd.data.resizing import resize
from tfqkd.data.sizing import sides
from tfqkd.runtime.pictures import middle


def test_resize_leaves_images_alone_without_a_size():
    images = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
    assert resize(images, 0) is images


def test_resize_keeps_a_constant_image_constant():
    out = resize(np.full((2, 5, 7, 3), 201, np.uint8), 4)
    assert out.dtype == np.uint8
    np.testing.assert_array_equal(out, np.full((2, 4, 4, 3), 201))


def test_resize_to_half_weighs_pixels_by_the_triangle_filter():
    # Halving with antialiasing is a triangle of radius 2 around the new pixel's centre: the weights
    # of its four columns are 1/8, 3/8, 3/8, 1/8, renormalised where some lie outside.
    row = np.array([0, 40, 80, 240], np.float64)
    weights = np.array([[3, 3, 1, 0], [0, 1, 3, 3]]) / 7
    image = np.tile(row.astype(np.uint8), (4, 1))[..., np.newaxis]
    expected = np.tile(np.round(weights @ row), (2, 1))[..., np.newaxis]
    np.testing.assert_array_equal(resize(image, 2), expected)


@pytest.mark.parametrize(
    ("stored", "size", "box"),
    [
        ((10, 30), (5, 5), (0, 10, 10, 10)),
        ((30, 10), (5, 5), (10, 0, 10, 10)),
        ((8, 6), (4, 3), (0, 0, 8, 6)),
    ],
)
def test_the_middle_is_the_largest_part_of_the_new_proportions(stored, size, box):
    assert middle(stored, size) == box
    image = np.zeros((*stored, 1), np.uint8)
    top, left, height, width = box
    image[top : top + height, left : left + width] = 200
    assert (resize(image, f"{size[0]}x{size[1]}", centre_crop=True) == 200).all()


def test_resize_takes_height_before_width():
    image = np.zeros((8, 8, 1), np.uint8)
    image[:, 4:] = 200
    out = resize(image, "2x4")
    assert out.shape == (2, 4, 1)
    np.testing.assert_array_equal(out[0], out[1])
    assert (out[0, 0, 0], out[0, 3, 0]) == (0, 200)


@pytest.mark.parametrize("shape", [(32, 32, 3), (8, 8, 1), (224, 200, 3), (28, 29, 1)])
@pytest.mark.parametrize("size", ["16x16", "96x33", "8x40"])
def test_resize_gives_the_pixels_of_tensorflow(shape, size):
    from tfqkd.compat import tf

    images = np.random.default_rng(0).integers(0, 256, (3, *shape), dtype=np.uint8)
    resized = tf.image.resize(images, sides(size), antialias=True)
    expected = tf.saturate_cast(tf.round(resized), tf.uint8)
    np.testing.assert_array_equal(resize(images, size), expected)
    np.testing.assert_array_equal(resize(images[0], size), expected[0])
