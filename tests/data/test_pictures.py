"""Images that are read when they are asked for are those that memory would hold."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from tfqkd.core.crops import RandomBoxes, random_flips
from tfqkd.data import Augmentation, load
from tfqkd.data.epochs import Epochs
from tfqkd.data.images import Split
from tfqkd.data.pictures import Pictures
from tfqkd.data.randaugment import random_operations, varied
from tfqkd.data.varied import varied_images
from tfqkd.fronts.tfmot.batches import evaluation_batches, training_batches
from tfqkd.fronts.tfmot.host_batches import Share

COUNT = 23
KINDS = ("folder", "arrays")


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """The same colour images as a folder and as arrays; in the folder of many sizes beside them."""
    root = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (COUNT, 10, 12, 3), np.uint8)
    labels = np.arange(COUNT) % 3
    arrays = {"train_images": images, "train_labels": labels}
    arrays |= {"test_images": images[:6], "test_labels": labels[:6]}
    np.savez(root / "all.npz", **arrays)
    np.savez_compressed(root / "small.npz", **arrays)
    for role, count in (("train", COUNT), ("test", 6)):
        for number in range(count):
            path = root / "folder" / role / str(labels[number]) / f"{number:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            larger = Image.fromarray(images[number])
            larger.resize((12 + number, 30 - number), Image.Resampling.BILINEAR).save(path)
    return {
        "folder": f"folder:{root / 'folder'}",
        "arrays": f"arrays:{root / 'all.npz'}",
        "compressed": f"arrays:{root / 'small.npz'}",
    }


def both(names, kind, **settings):
    asked = {"image_size": "8x6", **settings}
    return [load(names[kind], stream=stream, **asked) for stream in ("on", "off")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", [{}, {"centre_crop": True}, {"validation_split": 0.3}])
def test_streamed_images_are_those_in_memory(names, kind, settings):
    streamed, held = both(names, kind, **settings)
    for role in ("train", "validation", "test"):
        one, other = getattr(streamed, role), getattr(held, role)
        if other is None:
            assert one is None
            continue
        assert one.is_streamed and not other.is_streamed
        assert one.images.shape == other.images.shape
        np.testing.assert_array_equal(one.labels, other.labels)
        np.testing.assert_array_equal(one.images[:], other.images)
        np.testing.assert_array_equal(one.images[2], other.images[2])
        np.testing.assert_array_equal(one.images[[3, 1]], other.images[[3, 1]])
    assert streamed.mean == held.mean and streamed.std == held.std
    assert streamed.centre_crop == held.centre_crop == settings.get("centre_crop", False)


@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_fit_is_streamed_by_itself(names, kind, monkeypatch):
    memory = dataclasses.make_dataclass("memory", ["available"])
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory(100))
    assert load(names[kind], image_size=8).train.is_streamed
    with pytest.raises(ValueError, match="held in memory may take half of what is available"):
        load(names[kind], image_size=8, stream="off")


def test_a_fingerprint_says_which_images_these_are(names):
    def fingerprint(**settings):
        return load(names["folder"], image_size=8, stream="on", **settings).fingerprint

    assert fingerprint() == fingerprint()
    others = [{"centre_crop": True}, {"validation_split": 0.3}, {"train_examples": 12}]
    assert len({fingerprint(), *(fingerprint(**each) for each in others)}) == 4


def test_a_damaged_file_is_named_when_it_is_asked_for(names, tmp_path):
    for role in ("train", "test"):
        (tmp_path / role / "a").mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / role / "a" / "0.png")
    (tmp_path / "train" / "a" / "1.png").write_bytes(b"no image")
    data = load(f"folder:{tmp_path}", stream="on")
    with pytest.raises(ValueError, match=r"must be a readable PNG or JPEG file.*1\.png"):
        data.train.images[:]


def test_compressed_arrays_are_not_streamed(names):
    with pytest.raises(ValueError, match=r"must not be compressed.*numpy\.savez"):
        load(names["compressed"], stream="on")


def test_digits_come_in_memory():
    with pytest.raises(ValueError, match="`stream` must be auto or off for digits"):
        load("digits", stream="on")


AUGMENTATIONS = {
    "crops": Augmentation(padding=2),
    "parts": Augmentation(padding=0, resized_crop=True),
    "all": Augmentation(padding=0, resized_crop=True, operations=2, mixup=0.4),
}


# Of a folder's images memory holds resized ones, of which parts are others.
@pytest.mark.parametrize(
    ("kind", "varied_by"), [("folder", "crops"), *(("arrays", name) for name in AUGMENTATIONS)]
)
def test_training_shows_the_same_batches_from_the_disk_and_from_memory(names, kind, varied_by):
    augmentation = AUGMENTATIONS[varied_by]
    settings = {"batch_size": 4, "classes": 3, "seed": 5, "augmentation": augmentation}
    # Of the stored images: their size may not change.
    streamed, held = both(names, kind, **({"image_size": 0} if kind == "arrays" else {}))
    made = [training_batches(data.train, **settings, epochs=2) for data in (streamed, held)]
    for one, other in zip(*(list(each.as_numpy_iterator()) for each in made), strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_allclose(one[1], other[1], rtol=1e-6)
    evaluated = [
        list(evaluation_batches(data.test, batch_size=4, classes=3).as_numpy_iterator())
        for data in (streamed, held)
    ]
    for one, other in zip(*evaluated, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


@pytest.mark.parametrize("first", [(0, 3), (1, 0), (1, 4)])
def test_a_stream_goes_on_at_any_step(names, first):
    data, _ = both(names, "folder")
    settings = {"batch_size": 4, "classes": 3, "seed": 5, "augmentation": AUGMENTATIONS["all"]}
    whole = list(training_batches(data.train, **settings, epochs=2).as_numpy_iterator())
    epoch, step = first
    rest = training_batches(data.train, **settings, epochs=2, first_epoch=epoch, first_step=step)
    rest = list(rest.as_numpy_iterator())
    assert len(rest) == 10 - (5 * epoch + step)
    for one, other in zip(whole[5 * epoch + step :], rest, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


def test_kept_logits_go_along_with_streamed_images(names):
    data, _ = both(names, "folder")
    views = [np.full((COUNT, 3), view, np.float16) for view in (0, 1)]
    for view in views:
        view[:, 1] = np.arange(COUNT)
    settings = {"batch_size": 4, "classes": 3, "seed": 5, "augmentation": AUGMENTATIONS["parts"]}
    batches = training_batches(
        data.train, **settings, epochs=2, fixed_views=2, teacher_logits=views
    )
    epochs = Epochs(data.train, 4, 3, 5, AUGMENTATIONS["parts"], 2)
    for number, ((images, said), _) in enumerate(batches.as_numpy_iterator()):
        epoch, step = divmod(number, 5)
        rows = epochs.order(epoch)[step]
        np.testing.assert_array_equal(said[:, 0], epoch)
        np.testing.assert_array_equal(said[:, 1], rows)
        np.testing.assert_array_equal(images, epochs.batch(epoch, rows)[0])


@pytest.mark.parametrize("workers", [1, 2])
def test_each_worker_reads_its_parts_of_a_batch_alone(names, workers):
    data, _ = both(names, "arrays")
    settings = {"batch_size": 8, "classes": 3, "seed": 5, "epochs": 2}
    settings["augmentation"] = Augmentation(padding=0, operations=1, mixup=0.4)
    whole = list(training_batches(data.train, **settings).as_numpy_iterator())
    replicas = 4
    for worker in range(workers):
        noted = NotedRows(data.train.images)
        split = Split(Pictures(noted, range(COUNT), data.image_shape), data.train.labels)
        share = Share(worker, workers, replicas)
        parts = list(training_batches(split, **settings, share=share).as_numpy_iterator())
        numbers = list(range(worker, replicas, workers))
        assert len(parts) == len(whole) * len(numbers)
        for place, (images, labels) in enumerate(parts):
            batch = whole[place // len(numbers)]
            part = slice(2 * numbers[place % len(numbers)], 2 * numbers[place % len(numbers)] + 2)
            np.testing.assert_array_equal(images, batch[0][part])
            np.testing.assert_array_equal(labels, batch[1][part])
        assert len(noted.read) == 2 * len(parts)


def test_parts_hold_whole_pairs_of_what_is_mixed(names):
    data, _ = both(names, "arrays")
    with pytest.raises(ValueError, match="must be of an even size, to be mixed within it"):
        training_batches(
            data.train,
            batch_size=12,
            classes=3,
            seed=5,
            epochs=1,
            augmentation=AUGMENTATIONS["all"],
            share=Share(0, 4, 4),
        )


class NotedRows:
    """A source that notes which images are read."""

    fingerprint = "noted"

    def __init__(self, images):
        self._images, self.read = images, []

    def pixels(self, row):
        self.read.append(row)
        return self._images[row]


def test_mixtures_are_not_repeated(names):
    data, _ = both(names, "arrays")
    with pytest.raises(ValueError, match="must not be mixtures"):
        Epochs(data.train, 4, 3, 0, AUGMENTATIONS["all"], fixed_views=2)


def test_a_part_is_the_box_that_was_drawn_for_it(names):
    data, _ = both(names, "folder")
    rows = np.array([3, 17, 8])
    shown = varied_images(data.train.images, rows, 7, 2, AUGMENTATIONS["parts"])
    for row, image in zip(rows, shown, strict=True):
        whole = data.train.images.open(row)
        top, left, high, wide = RandomBoxes(7, 2, row[None]).fit(0, whole.height, whole.width)
        part = np.asarray(whole)[top : top + high, left : left + wide]
        if random_flips(7, 2, row[None])[0]:
            part = part[:, ::-1]
        expected = Image.fromarray(part).resize((6, 8), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(image, np.asarray(expected))


def test_pictures_are_read_no_sooner_than_they_are_asked_for():
    source = NotedRows(np.zeros((100, 2, 2, 1), np.uint8))
    pictures = Pictures(source, range(100), (2, 2, 1)).take(np.arange(10, 20))
    assert len(pictures) == 10 and pictures.size == 40 and source.read == []
    pictures[[1, 3]]
    assert sorted(source.read) == [11, 13]


def pixels_of(operation, image, magnitude=30, sign=0):
    shown = varied(Image.fromarray(image), [2 * operation + sign], magnitude)
    return np.asarray(shown).astype(int)


def test_operations_have_the_strengths_of_the_paper():
    image = np.random.default_rng(1).integers(60, 120, (8, 8, 3), np.uint8)
    whole = image.astype(int)
    np.testing.assert_array_equal(pixels_of(0, image), whole)
    low, high = whole.min((0, 1)), whole.max((0, 1))
    np.testing.assert_allclose(pixels_of(1, image), (whole - low) * 255 / (high - low), atol=1)
    many = np.random.default_rng(2).integers(60, 120, (32, 32, 3), np.uint8)
    levels = pixels_of(2, many)
    assert levels.min() == 0 and levels.max() >= 250
    np.testing.assert_array_equal(pixels_of(3, image, 20), np.where(whole < 85, whole, 255 - whole))
    np.testing.assert_array_equal(pixels_of(4, image), whole & 0xF0)
    np.testing.assert_array_equal(pixels_of(4, image, 15), whole & 0xFC)
    np.testing.assert_allclose(pixels_of(8, image), whole * 1.9, atol=1)
    np.testing.assert_allclose(pixels_of(8, image, 10, sign=1), whole * 0.7, atol=1)
    # Moved by 15/331 of 8 pixels or more: the last row and column are new.
    np.testing.assert_array_equal(pixels_of(12, image)[:, :4], whole[:, 4:])
    assert not pixels_of(12, image)[:, 5:].any()
    np.testing.assert_array_equal(pixels_of(13, image, sign=1)[4:], whole[:4])
    for operation in range(14):
        if operation not in (1, 2):
            np.testing.assert_allclose(pixels_of(operation, image, 0), whole, atol=1)


def test_every_operation_is_drawn_as_often():
    drawn = random_operations(3, 1, np.arange(28_000), 2)
    counts = np.bincount(drawn.ravel(), minlength=28)
    assert len(counts) == 28 and np.abs(counts - 2000).max() < 5 * np.sqrt(2000)
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.03
