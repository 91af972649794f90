import itertools
import threading

import numpy as np
import pytest
from PIL import Image

from tfqkd.core.crops import random_boxes, random_flips
from tfqkd.data import streams
from tfqkd.data.streams import FileStream

COUNT, SHAPE = 23, (8, 6, 3)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Pictures of different sizes; a smooth one each, so that resizing hardly matters."""
    folder = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    paths = []
    for number in range(COUNT):
        height, width = generator.integers(20, 40, 2)
        colours = generator.integers(0, 256, (2, 2, 3), np.uint8)
        image = Image.fromarray(colours).resize((width, height), Image.Resampling.BILINEAR)
        paths.append(folder / f"{number}.png")
        image.save(paths[-1])
    return paths


def stream(files, **settings):
    labels = np.arange(COUNT) % 3
    return FileStream(files, labels, SHAPE, **{"batch_size": 4, "seed": 5, **settings})


def together(batches):
    batches = list(batches)
    parts = [np.concatenate([getattr(b, name) for b in batches]) for name in ("examples", "images")]
    return tuple(parts)


def test_an_epoch_shows_every_image_once_in_an_order_of_its_own(files):
    made = stream(files)
    orders = []
    for epoch in (0, 1):
        batches = list(made.training(epoch))
        assert len(batches) == len(made) == 5
        for batch in batches:
            assert batch.images.shape == (4, *SHAPE) and batch.images.dtype == np.uint8
            np.testing.assert_array_equal(batch.labels, batch.examples % 3)
        orders.append(np.concatenate([batch.examples for batch in batches]))
        assert len(set(orders[-1].tolist())) == 20
    assert not np.array_equal(*orders)


def test_an_image_is_the_box_that_was_drawn_for_it(files):
    (batch, *_) = stream(files).training(3)
    for example, image in zip(batch.examples, batch.images, strict=True):
        whole = Image.open(files[example])
        one = np.array([example])
        ((top, left, high, wide),) = random_boxes(
            5, 3, one, np.array([[whole.height, whole.width]])
        )
        pixels = np.asarray(whole)[top : top + high, left : left + wide]
        part = Image.fromarray(pixels).resize(SHAPE[1::-1], Image.Resampling.BILINEAR)
        expected = np.asarray(part)
        if random_flips(5, 3, one)[0]:
            expected = expected[:, ::-1]
        # Mirrored before or after resizing: one level of rounding.
        assert np.abs(expected.astype(int) - image).max() <= 1


@pytest.mark.parametrize("first", [0, 1, 4, 5])
def test_an_epoch_goes_on_at_any_step(files, first):
    whole = list(stream(files).training(2))
    rest = list(stream(files, threads=1).training(2, first))
    assert len(rest) == 5 - first
    for one, other in zip(whole[first:], rest, strict=True):
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.examples, other.examples)


def test_workers_share_each_batch(files):
    whole = list(stream(files).training(2))
    shares = [list(stream(files, worker=w, workers=2).training(2)) for w in (0, 1)]
    for batch, *parts in zip(whole, *shares, strict=True):
        for name in ("images", "labels", "examples"):
            joined = np.empty_like(getattr(batch, name))
            for worker, part in enumerate(parts):
                joined[worker::2] = getattr(part, name)
            np.testing.assert_array_equal(joined, getattr(batch, name))


def test_evaluation_shows_the_middle_of_every_image_in_order(files):
    examples, images = together(stream(files).evaluation())
    np.testing.assert_array_equal(examples, np.arange(COUNT))
    for path, image in zip(files, images, strict=True):
        whole = Image.open(path)
        wide = min(whole.width, round(whole.height * 6 / 8))
        high = min(whole.height, round(whole.width * 8 / 6))
        left, top = (whole.width - wide) // 2, (whole.height - high) // 2
        part = np.asarray(whole)[top : top + high, left : left + wide]
        expected = Image.fromarray(part).resize((6, 8), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(image, np.asarray(expected))
    parts = [together(stream(files, worker=w, workers=2).evaluation())[0] for w in (0, 1)]
    assert sorted(np.concatenate(parts).tolist()) == list(range(COUNT))


def test_no_more_than_a_few_batches_are_decoded_ahead(files, monkeypatch):
    opened, lock = [], threading.Lock()

    def noted(path, real=streams.open_picture):
        with lock:
            opened.append(path)
        return real(path)

    monkeypatch.setattr(streams, "open_picture", noted)
    taken = stream(files, threads=2).training(0)
    list(itertools.islice(taken, 1))
    taken.close()
    assert len(opened) <= 4 * 3


@pytest.mark.parametrize("settings", [{"batch_size": 24}, {"batch_size": 0}, {"workers": 3}])
def test_batches_that_cannot_be_made_are_refused(files, settings):
    with pytest.raises(ValueError, match="`batch_size` must be at most the number of images"):
        stream(files, **settings)
