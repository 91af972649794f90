import numpy as np
from sklearn.datasets import load_digits

from tfqkd.data import digits


def test_every_digit_is_in_exactly_one_split_with_scaled_pixels():
    data = digits.read(0)
    assert (len(data.train), data.validation, len(data.test)) == (1197, None, 600)
    assert data.image_shape == (8, 8, 1)
    assert data.class_names == tuple("0123456789")
    stored = load_digits()
    levels = {value: round(value * 255 / 16) for value in range(17)}
    expected = sorted(
        (label, *(levels[int(pixel)] for pixel in row))
        for row, label in zip(stored.data, stored.target, strict=True)
    )
    found = sorted(
        (label, *image.ravel().tolist())
        for split in (data.train, data.test)
        for image, label in zip(split.images, split.labels, strict=True)
    )
    assert found == expected


def test_the_splits_are_stratified():
    data = digits.read(0)
    fair = np.bincount(load_digits().target) * 600 / 1797
    assert (abs(np.bincount(data.test.labels) - fair) < 1).all()


def test_digits_can_be_resized():
    assert digits.read(16).image_shape == (16, 16, 1)
