import hashlib

import numpy as np
import pytest

from tfqkd.data import images as images_module
from tfqkd.data.images import ImageData, Split


def make_split(count=12, classes=3, shape=(2, 2, 3), seed=0):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
    return Split(pixels, np.arange(count) % classes)


def make_data(train, validation=None, test=None, class_names=("a", "b", "c")):
    return ImageData("set", class_names, train, validation, test or make_split(seed=1))


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((3, 2, 2, 1), np.float32),
        np.zeros((3, 2, 2), np.uint8),
        np.zeros((0, 2, 2, 1), np.uint8),
    ],
)
def test_split_refuses_images_that_are_not_uint8_nhwc(pixels):
    with pytest.raises(ValueError, match=r"`images` must be uint8.*Received: "):
        Split(pixels, np.zeros(len(pixels), np.int64))


@pytest.mark.parametrize(
    "labels", [np.zeros(3, np.int32), np.zeros(2, np.int64), np.zeros((3, 10), np.int64)]
)
def test_split_refuses_labels_that_are_not_int64_n(labels):
    with pytest.raises(ValueError, match=r"`labels` must be int64.*Received: "):
        Split(np.zeros((3, 2, 2, 1), np.uint8), labels)


def test_a_sample_of_images_sorted_by_class_shows_all_classes():
    # The first pixel of an image is its class.
    labels = np.repeat(np.arange(10), 20)
    sample = Split(labels.astype(np.uint8).reshape(-1, 1, 1, 1), labels).sample(50)
    assert np.bincount(sample.ravel(), minlength=10).tolist() == [5] * 10


def test_a_sample_has_each_image_at_most_once():
    split = Split(np.arange(7, dtype=np.uint8).reshape(7, 1, 1, 1), np.zeros(7, np.int64))
    for count in range(1, 10):
        rows = split.sample(count).ravel().tolist()
        assert rows == sorted(set(rows)) and len(rows) == min(count, 7)


def test_draw_takes_its_share_of_every_class_and_leaves_the_rest_in_order():
    # The first pixel of an image is its row, so that rows can be told apart.
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    pixels = np.arange(100, dtype=np.uint8).reshape(100, 1, 1, 1)
    drawn, rest = Split(pixels, labels).draw(20, seed=3)
    assert np.bincount(drawn.labels).tolist() == [10, 6, 4]
    assert np.bincount(rest.labels).tolist() == [40, 24, 16]
    rows = [split.images.ravel().tolist() for split in (drawn, rest)]
    assert sorted(rows[0] + rows[1]) == list(range(100))
    assert all(numbers == sorted(numbers) for numbers in rows)
    assert (labels[rows[0]] == drawn.labels).all()


def test_draw_depends_on_the_seed_alone():
    split = make_split(count=60)
    draws = [split.draw(20, seed)[0].images for seed in (0, 0, 1)]
    assert (draws[0] == draws[1]).all()
    assert (draws[0] != draws[2]).any()


@pytest.mark.parametrize("count", [0, 2, 10, 12])
def test_draw_refuses_a_part_with_fewer_examples_than_classes(count):
    with pytest.raises(ValueError, match=f"Received: {count} of 12 examples"):
        make_split(count=12, classes=3).draw(count, seed=0)


def test_draw_refuses_a_class_with_one_example():
    split = Split(np.zeros((6, 1, 1, 1), np.uint8), np.array([0, 0, 0, 1, 1, 2]))
    with pytest.raises(ValueError, match="the smallest of 1"):
        split.draw(3, seed=0)


@pytest.mark.parametrize("label", [-1, 3])
def test_data_refuses_labels_outside_of_the_classes(label):
    test = Split(make_split(count=2).images, np.array([0, label]))
    with pytest.raises(ValueError, match=r"Labels must be 0\.\.2.*in the test split of 'set'"):
        make_data(make_split(), test=test)


def test_data_refuses_splits_of_different_shape():
    with pytest.raises(ValueError, match="in the validation split of 'set'"):
        make_data(make_split(), validation=make_split(shape=(2, 2, 1)))


def test_data_knows_its_shape_and_classes():
    data = make_data(make_split(shape=(4, 2, 3)), test=make_split(shape=(4, 2, 3)))
    assert (data.image_shape, data.classes) == ((4, 2, 3), 3)


def test_mean_and_std_are_those_of_numpy_over_train_alone(monkeypatch):
    monkeypatch.setattr(images_module, "_CHUNK", 5)  # 12 images: two full chunks and a part.
    train = make_split(shape=(3, 5, 3))
    data = make_data(train, test=make_split(shape=(3, 5, 3), seed=9))
    pixels = train.images.astype(np.float64)
    np.testing.assert_allclose(data.mean, pixels.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(data.std, pixels.std(axis=(0, 1, 2)), rtol=1e-12)


def test_fingerprint_is_the_digest_of_names_shapes_and_bytes():
    train, test = make_split(), make_split(seed=1)
    expected = hashlib.sha256(b'["a", "b", "c"]')
    for role, split in (("train", train), ("test", test)):
        expected.update(f"{role}(12, 2, 2, 3)".encode())
        expected.update(split.images.tobytes())
        expected.update(split.labels.tobytes())
    assert make_data(train, test=test).fingerprint == expected.hexdigest()


def test_fingerprint_tells_contents_apart_but_not_names_of_sets():
    train, other = make_split(), make_split(seed=5)
    first = make_data(train)
    assert ImageData("other", first.class_names, train, None, first.test).fingerprint == (
        first.fingerprint
    )
    different = [
        make_data(other),
        make_data(train, test=other),
        make_data(train, validation=other),
        make_data(train, class_names=("a", "b", "d")),
        make_data(Split(train.images, train.labels[::-1].copy())),
    ]
    assert len({data.fingerprint for data in (first, *different)}) == 1 + len(different)
