import numpy as np
import pytest

from tfqkd.compat import tf
from tfqkd.data import datasets
from tfqkd.data.datasets import ImageData, Split, load


@pytest.fixture
def thousand(monkeypatch):
    """1,000 training images, whose pixels tell their row, in classes of 700 and 300."""
    rows = np.arange(1000)
    pixels = np.stack([rows // 256, rows % 256], axis=-1).astype(np.uint8).reshape(-1, 1, 1, 2)
    labels = np.repeat([0, 1], [700, 300])
    test = Split(pixels[:4], labels[:4])
    data = ImageData("digits", ("a", "b"), Split(pixels, labels), None, test)
    monkeypatch.setattr(datasets.digits, "read", lambda image_size, centre_crop: data)
    return data


def rows_of(split):
    return (split.images[:, 0, 0, 0].astype(int) * 256 + split.images[:, 0, 0, 1]).tolist()


def test_everything_is_trained_on_unless_asked_otherwise(thousand):
    data = load("digits")
    assert data.validation is None
    assert rows_of(data.train) == list(range(1000))


def test_validation_images_come_out_of_train_class_by_class(thousand):
    data = load("digits", validation_split=0.1)
    assert np.bincount(data.validation.labels).tolist() == [70, 30]
    assert np.bincount(data.train.labels).tolist() == [630, 270]
    assert sorted(rows_of(data.train) + rows_of(data.validation)) == list(range(1000))


def test_train_examples_are_drawn_from_what_validation_leaves(thousand):
    whole = load("digits", validation_split=0.1)
    data = load("digits", validation_split=0.1, train_examples=100)
    assert rows_of(data.validation) == rows_of(whole.validation)
    assert np.bincount(data.train.labels).tolist() == [70, 30]
    assert set(rows_of(data.train)) < set(rows_of(whole.train))


def test_all_train_examples_may_be_asked_for_by_number(thousand):
    assert rows_of(load("digits", train_examples=1000).train) == list(range(1000))


def test_the_seed_draws_other_images_but_never_other_test_images(thousand):
    first, again, other = (
        load("digits", validation_split=0.2, train_examples=50, seed=seed) for seed in (1, 1, 2)
    )
    assert first.fingerprint == again.fingerprint
    assert rows_of(first.validation) != rows_of(other.validation)
    assert rows_of(first.train) != rows_of(other.train)
    assert first.test is thousand.test
    assert other.test is thousand.test


def test_folder_is_loaded_by_path(tmp_path):
    for name in ("train/cat/a", "train/dog/a", "test/cat/a", "test/dog/a"):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(tf.io.encode_png(np.full((2, 2, 1), 3, np.uint8)).numpy())
    data = load(f"folder:{tmp_path}", image_size=4)
    assert (data.class_names, data.image_shape) == (("cat", "dog"), (4, 4, 1))


def test_any_other_name_is_looked_up_in_the_catalogue(tmp_path):
    with pytest.raises(FileNotFoundError, match="'mnist'"):
        load("mnist", data_dir=tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [
        {"validation_split": -0.1},
        {"validation_split": 0.6},
        {"validation_split": float("nan")},
        {"train_examples": -1},
        {"train_examples": 1198},
        {"image_size": -8},
        {"seed": -1},
        {"seed": 2**31},
    ],
)
def test_arguments_out_of_range_are_refused(arguments):
    ((name, value),) = arguments.items()
    with pytest.raises(ValueError, match=f"`{name}` must be .*Received: {name}={value}"):
        load("digits", **arguments)


@pytest.mark.slow
def test_cifar10_on_disk_has_its_known_size_and_mean():
    try:
        data = load("cifar10")
    except FileNotFoundError:
        pytest.skip("CIFAR-10 is not in the default TFDS folder")
    assert (len(data.train), len(data.test), data.image_shape) == (50000, 10000, (32, 32, 3))
    # The per-channel mean and deviation that every CIFAR-10 recipe quotes.
    np.testing.assert_allclose(np.array(data.mean) / 255, [0.4914, 0.4822, 0.4465], atol=1e-4)
    np.testing.assert_allclose(np.array(data.std) / 255, [0.2470, 0.2435, 0.2616], atol=1e-4)
