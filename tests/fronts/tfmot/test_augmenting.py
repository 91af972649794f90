import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from tfqkd.compat import tf
from tfqkd.core.views import NUMPY, draw_numbers
from tfqkd.data.augmentation import Augmentation
from tfqkd.fronts.tfmot.augmenting import augment, draw_views


def augment_one_by_one(images, views, padding):
    """The definition, image by image."""
    height, width = images.shape[1:3]
    out = np.empty_like(images)
    for row, (image, (dy, dx, flip)) in enumerate(zip(images, views, strict=True)):
        padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)))
        crop = padded[dy : dy + height, dx : dx + width]
        out[row] = crop[:, ::-1] if flip else crop
    return out


@st.composite
def cases(draw):
    padding = draw(st.integers(0, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = [draw(st.integers(1, high)) for high in (5, 6, 7, 3)]
    images = rng.integers(0, 256, shape, dtype=np.uint8)
    offsets = rng.integers(0, 2 * padding + 1, (shape[0], 2))
    views = np.concatenate([offsets, rng.integers(0, 2, (shape[0], 1))], axis=1)
    return images, views.astype(np.int32), padding


@settings(deadline=None, max_examples=60)
@given(cases())
def test_augment_is_pad_crop_flip(case):
    images, views, padding = case
    out = augment(tf.constant(images), tf.constant(views), padding).numpy()
    assert out.dtype == np.uint8
    np.testing.assert_array_equal(out, augment_one_by_one(images, views, padding))


def test_augment_shows_every_view_of_an_image_once():
    image = np.arange(1, 1 + 9, dtype=np.uint8).reshape(1, 3, 3, 1)
    views = np.array([[y, x, f] for y in range(3) for x in range(3) for f in range(2)], np.int32)
    images = np.repeat(image, len(views), axis=0)
    out = augment(images, views, 1).numpy()
    np.testing.assert_array_equal(out, augment_one_by_one(images, views, 1))
    assert len(np.unique(out, axis=0)) == len(views)


def test_the_middle_view_is_the_image_itself():
    images = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    np.testing.assert_array_equal(augment(images, np.array([[4, 4, 0]] * 2, np.int32), 4), images)


def test_no_padding_and_no_flip_is_the_identity():
    images = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    views = draw_views(2, 0, 0, Augmentation.NONE)
    np.testing.assert_array_equal(views, np.zeros((2, 3)))
    np.testing.assert_array_equal(augment(images, views, 0), images)


@pytest.mark.parametrize(
    ("augmentation", "expected"),
    [(Augmentation(), 162), (Augmentation(1, flip=False), 9), (Augmentation.NONE, 1)],
)
def test_views_are_counted(augmentation, expected):
    assert augmentation.views == expected


def test_views_are_equally_likely():
    views = draw_views(162 * 200, 5, 2, Augmentation()).numpy()
    assert views.dtype == np.int32
    dy, dx, flip = views.T
    assert (views.min(axis=0).tolist(), views.max(axis=0).tolist()) == ([0, 0, 0], [8, 8, 1])
    counts = np.bincount((dy * 9 + dx) * 2 + flip, minlength=162)
    assert chisquare(counts).pvalue > 0.01


def test_nothing_is_mirrored_without_flip():
    views = draw_views(2000, 5, 2, Augmentation(padding=2, flip=False)).numpy()
    assert (views.max(axis=0).tolist()) == [4, 4, 0]


def test_tables_are_repeated_and_independent():
    def draw(seed, view):
        return draw_views(5000, seed, view, Augmentation()).numpy()

    table = draw(7, 3)
    np.testing.assert_array_equal(table, draw(7, 3))
    np.testing.assert_array_equal(
        table, tf.function(draw_views)(5000, 7, tf.constant(3), Augmentation())
    )
    for other in (draw(7, 4), draw(8, 3), draw(3, 7)):
        agreeing = (table == other).all(axis=1).mean()
        assert abs(agreeing - 1 / 162) < 4 * (1 / 162 / 5000) ** 0.5


def test_a_row_is_the_crop_and_the_flip_of_the_number_drawn():
    numbers = draw_numbers(2**32 - 1, 3, np.arange(300), 162, NUMPY).astype(int)
    table = draw_views(300, 2**32 - 1, 3, Augmentation()).numpy()
    expected = [[number % 81 // 9, number % 9, number // 81] for number in numbers]
    assert table.tolist() == expected


def test_negative_padding_is_refused():
    with pytest.raises(ValueError, match=r"`padding` must be .* Received: padding=-1"):
        Augmentation(padding=-1)
