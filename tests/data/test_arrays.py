import numpy as np
import pytest

from tfqkd.data import load
from tfqkd.data.locations import require_location

ROOM = np.random.default_rng(0)
GOOD = {
    "train_images": ROOM.integers(0, 256, (6, 4, 3, 1), np.uint8),
    "train_labels": np.array([0, 1, 2, 0, 1, 2], np.uint8),
    "test_images": ROOM.integers(0, 256, (2, 4, 3, 1), np.uint8),
    "test_labels": np.array([2, 2]),
}


def written(tmp_path, save=np.savez, **changes):
    arrays = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    save(tmp_path / "set.npz", **arrays)
    return f"arrays:{tmp_path / 'set.npz'}"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_read_as_they_were_written(tmp_path, save):
    name = written(tmp_path, save, class_names=np.array(["a", "bird", "ü"]))
    require_location(name)
    data = load(name)
    assert (data.name, data.class_names) == (name, ("a", "bird", "ü"))
    for role, split in (("train", data.train), ("test", data.test)):
        np.testing.assert_array_equal(split.images, GOOD[f"{role}_images"])
        np.testing.assert_array_equal(split.labels, GOOD[f"{role}_labels"])


def test_classes_without_names_are_called_by_their_numbers(tmp_path):
    assert load(written(tmp_path)).class_names == ("0", "1", "2")


def test_arrays_are_resized(tmp_path):
    flat = np.full((6, 4, 3, 1), 77, np.uint8)
    data = load(written(tmp_path, train_images=flat), image_size="5x2")
    assert data.image_shape == data.test.images.shape[1:] == (5, 2, 1)
    assert set(data.train.images.ravel()) == {77}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_labels": None}, r"without test_labels\. Add it"),
        (
            {"train_images": GOOD["train_images"] / 255},
            r"Images must be uint8.*train_images float64",
        ),
        ({"train_images": GOOD["train_images"][..., 0]}, r"train_images uint8 \[6, 4, 3\]"),
        ({"test_images": GOOD["test_images"][:, :2]}, r"test_images uint8 \[2, 2, 3, 1\]"),
        ({"test_images": GOOD["test_images"][:0]}, r"test_images uint8 \[0, 4, 3, 1\]"),
        ({"train_images": np.zeros((6, 4, 3, 2), np.uint8)}, r"train_images uint8 \[6, 4, 3, 2\]"),
        (
            {"train_labels": np.eye(6)},
            r"Labels must be integers \[N\].*train_labels float64 \[6, 6\]",
        ),
        ({"train_labels": np.zeros((6, 1), int)}, r"train_labels int64 \[6, 1\].*labels\.ravel"),
        ({"train_labels": np.zeros(5, int)}, r"train_labels int64 \[5\]"),
        ({"class_names": np.array(["a", 1], object)}, r"`class_names` must be text.*object \[2\]"),
        ({"class_names": np.arange(3)}, r"class_names int64 \[3\]"),
        ({"train_images": np.full(6, None)}, r"train_images object \[6\]"),
    ],
)
def test_arrays_of_another_kind_are_refused_before_they_are_read(
    tmp_path, monkeypatch, changes, message
):
    name = written(tmp_path, **changes)
    monkeypatch.setattr(np, "load", None)
    for refuse in (require_location, load):
        with pytest.raises(ValueError, match=message) as error:
            refuse(name)
        assert "Received: " in str(error.value) and "\n" not in str(error.value)


def test_all_that_is_wrong_is_told_at_once(tmp_path):
    name = written(tmp_path, test_labels=None, train_images=np.zeros(6), train_labels=np.zeros(6))
    with pytest.raises(
        ValueError, match=r"test_labels.*train_images float64.*train_labels float64"
    ):
        require_location(name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_labels": np.array([0, -1])}, r"Received: -1\.\.2"),
        ({"test_labels": np.array([0, 4])}, r"without gaps. Received: 0\.\.4 .*for 4 classes"),
        ({"class_names": np.array(["a", "b"])}, r"each of them named. Received: 0\.\.2 .*for 2 cl"),
    ],
)
def test_labels_that_are_no_class_numbers_are_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        load(written(tmp_path, **changes))


def test_a_named_class_may_be_without_images(tmp_path):
    assert load(written(tmp_path, class_names=np.array(list("abcd")))).classes == 4


def test_what_is_no_file_of_arrays_is_refused(tmp_path):
    path = tmp_path / "set.npz"
    with pytest.raises(ValueError, match=f"must name a file. Received: 'arrays:{path}'"):
        require_location(f"arrays:{path}")
    with pytest.raises(ValueError, match=r"must name a file\. Received: 'arrays:', without"):
        require_location("arrays:")
    with pytest.raises(ValueError, match=f"Received: '{path}', .* would be `arrays:{path}`"):
        require_location(str(path))
    path.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="which cannot be read: File is not a zip file"):
        require_location(f"arrays:{path}")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_file_is_refused_in_one_line(tmp_path, save):
    name = written(tmp_path, save)
    path = tmp_path / "set.npz"
    content = bytearray(path.read_bytes())
    for place in range(150, len(content) - 700, 41):
        damaged = content.copy()
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            load(name)
        except ValueError as error:
            assert "Received: " in str(error) and "\n" not in str(error)


def test_a_set_that_does_not_fit_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    name = written(tmp_path)
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("M", (), {"available": 100}))
    monkeypatch.setattr(np, "load", None)
    with pytest.raises(ValueError, match="8 images of"):
        load(name, stream="off")
