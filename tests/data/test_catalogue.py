import errno

import numpy as np
import psutil
import pytest
import requests
import tensorflow_datasets as tfds

from tfqkd.data import catalogue

NAMES = ["ant", "bee"]


def examples(count, shape=(4, 4, 3), seed=0):
    rng = np.random.default_rng(seed)
    return [
        {"image": rng.integers(0, 256, shape, dtype=np.uint8), "label": int(rng.integers(2))}
        for _ in range(count)
    ]


def store(data_dir, name, splits, image=None, label=None):
    """Writes a data set of our own to disk, where TFDS finds it by name."""
    features = {
        "image": image or tfds.features.Image(shape=(4, 4, 3)),
        "label": label or tfds.features.ClassLabel(names=NAMES),
    }
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version="1.0.0",
        features=tfds.features.FeaturesDict(features),
        split_datasets={role: list(enumerate(rows)) for role, rows in splits.items()},
        data_dir=data_dir,
        disable_shuffling=True,
    )


def assert_holds(split, rows):
    np.testing.assert_array_equal(split.images, [row["image"] for row in rows])
    np.testing.assert_array_equal(split.labels, [row["label"] for row in rows])


def test_images_and_labels_are_read_in_stored_order(tmp_path):
    rows = {"train": examples(20), "test": examples(5, seed=1), "validation": examples(3, seed=2)}
    store(tmp_path, "tiny_set", rows)
    data = catalogue.read("tiny_set", tmp_path, download=False, image_size=0)
    assert (data.name, data.class_names, data.validation) == ("tiny_set", ("ant", "bee"), None)
    assert_holds(data.train, rows["train"])
    assert_holds(data.test, rows["test"])


@pytest.mark.parametrize(
    ("label", "names"),
    [
        (tfds.features.ClassLabel(num_classes=10), ["airplane", "automobile", "bird"]),
        (tfds.features.ClassLabel(names=list("abcdefghij")), list("abc")),
    ],
)
def test_cifar_that_was_stored_without_label_names_has_them(tmp_path, label, names):
    rows = {"train": examples(3, (32, 32, 3)), "test": examples(2, (32, 32, 3))}
    official = tfds.builder("cifar10", data_dir=tmp_path)
    for role, split in rows.items():
        for number, row in enumerate(split):
            row["id"] = f"{role}_{number}"
    features = {"id": tfds.features.Text(), "image": official.info.features["image"]}
    tfds.dataset_builders.store_as_tfds_dataset(
        name="cifar10",
        version=str(official.version),
        features=tfds.features.FeaturesDict({**features, "label": label}),
        split_datasets={role: list(enumerate(split)) for role, split in rows.items()},
        data_dir=tmp_path,
        disable_shuffling=True,
    )
    data = catalogue.read("cifar10", tmp_path, download=False, image_size=0)
    assert (list(data.class_names[:3]), data.classes) == (names, 10)


def test_the_classes_of_other_sets_without_label_names_are_numbers(tmp_path):
    rows = {"train": examples(3), "test": examples(2)}
    store(tmp_path, "tiny_set", rows, label=tfds.features.ClassLabel(num_classes=2))
    data = catalogue.read("tiny_set", tmp_path, download=False, image_size=0)
    assert data.class_names == ("0", "1")


def test_a_damaged_file_is_named(tmp_path):
    store(tmp_path, "tiny_set", {"train": examples(10), "test": examples(3)})
    (file,) = tmp_path.glob("tiny_set/*/*train.tfrecord*")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match=f"Received: {file}, which has a wrong checksum"):
        catalogue.read("tiny_set", tmp_path, download=False, image_size=0)


def test_validation_is_the_test_split_where_there_is_no_other(tmp_path):
    rows = {"train": examples(4), "validation": examples(3, seed=1)}
    store(tmp_path, "tiny_set", rows)
    data = catalogue.read("tiny_set", tmp_path, download=False, image_size=0)
    assert_holds(data.test, rows["validation"])


def test_set_without_test_split_is_refused(tmp_path):
    store(tmp_path, "tiny_set", {"train": examples(4)})
    with pytest.raises(ValueError, match="Received: 'tiny_set' with train"):
        catalogue.read("tiny_set", tmp_path, download=False, image_size=0)


def test_images_of_many_sizes_need_a_size(tmp_path):
    def constant(value, size):
        return {"image": np.full((size, size + 1, 3), value, np.uint8), "label": 0}

    rows = {"train": [constant(9, 5), constant(7, 8)], "test": [constant(5, 6)]}
    store(tmp_path, "tiny_set", rows, image=tfds.features.Image(shape=(None, None, 3)))
    with pytest.raises(ValueError, match=r"Images of many sizes must be resized.*`image_size`"):
        catalogue.read("tiny_set", tmp_path, download=False, image_size=0)
    data = catalogue.read("tiny_set", tmp_path, download=False, image_size="2x6")
    assert data.image_shape[:2] == (2, 6)
    data = catalogue.read("tiny_set", tmp_path, download=False, image_size=4)
    assert data.image_shape == (4, 4, 3)
    assert data.train.images[:, 3, 3, 2].tolist() == [9, 7]


def unlabelled(count):
    return [{**row, "label": -1} for row in examples(count)]


@pytest.mark.parametrize("stream", ["on", "off"])
def test_validation_is_the_test_split_where_test_has_no_labels(
    tmp_path, monkeypatch, capsys, stream
):
    """As in imagenet2012."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rows = {
        "train": examples(4),
        "test": unlabelled(5),
        "validation": examples(3, seed=1),
    }
    store(tmp_path, "tiny_set", rows)
    data = catalogue.read("tiny_set", tmp_path, download=False, image_size=0, stream=stream)
    np.testing.assert_array_equal(data.test.images[:], [row["image"] for row in rows["validation"]])
    assert data.test.labels.tolist() == [row["label"] for row in rows["validation"]]
    assert "its test images have no labels; validation is" in capsys.readouterr().out


def test_sets_without_labels_are_refused(tmp_path):
    splits = {"train": examples(4), "test": unlabelled(1), "validation": unlabelled(2)}
    store(tmp_path / "no_tests", "tiny_set", splits)
    with pytest.raises(ValueError, match=r"must have labels.*whose split test and validation"):
        catalogue.read("tiny_set", tmp_path / "no_tests", download=False, image_size=0)
    splits = {"train": [*examples(4), *unlabelled(1)], "test": examples(2)}
    store(tmp_path / "not_all", "tiny_set", splits)
    with pytest.raises(ValueError, match=r"Received: -1\.\.1 in the train split"):
        catalogue.read("tiny_set", tmp_path / "not_all", download=False, image_size=0)


def test_set_that_is_not_for_classification_is_refused(tmp_path):
    splits = {"train": examples(2), "test": examples(2)}
    store(tmp_path, "tiny_set", splits, label=tfds.features.Scalar(np.int64))
    with pytest.raises(ValueError, match="`label`, a ClassLabel"):
        catalogue.read("tiny_set", tmp_path, download=False, image_size=0)


def test_images_of_sixteen_bits_are_refused(tmp_path):
    image = tfds.features.Image(shape=(4, 4, 1), dtype=np.uint16)
    row = {"image": np.zeros((4, 4, 1), np.uint16), "label": 0}
    store(tmp_path, "tiny_set", {"train": [row], "test": [row]}, image=image)
    with pytest.raises(ValueError, match=r"Images must be uint8.*uint16"):
        catalogue.read("tiny_set", tmp_path, download=False, image_size=0)


def test_set_that_is_not_kept_as_records_is_refused(tmp_path, monkeypatch):
    store(tmp_path, "tiny_set", {"train": examples(4), "test": examples(2)})
    other = property(lambda info: tfds.core.FileFormat.ARRAY_RECORD)
    monkeypatch.setattr(tfds.core.DatasetInfo, "file_format", other)
    with pytest.raises(ValueError, match=r"TFRecord.*'tiny_set' as array_record\. Prepare it"):
        catalogue.read("tiny_set", tmp_path, download=False, image_size=0)


def test_set_that_does_not_fit_memory_is_streamed_or_refused(tmp_path, monkeypatch):
    class Memory:
        available = 2 * 6 * 4 * 4 * 3 - 1

    store(tmp_path, "tiny_set", {"train": examples(4), "test": examples(2)})
    monkeypatch.setattr(psutil, "virtual_memory", Memory)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(ValueError, match="6 images"):
        catalogue.read("tiny_set", tmp_path, download=False, image_size=0, stream="off")
    assert catalogue.read("tiny_set", tmp_path, download=False, image_size=0).train.is_streamed


@pytest.mark.parametrize("centre_crop", [False, True])
def test_records_are_read_where_they_lie(tmp_path, monkeypatch, centre_crop):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rows = {"train": [], "test": examples(3)}
    for number in range(9):
        rows["train"] += examples(1, (5 + number, 14 - number, 3), seed=number)
    store(tmp_path, "tiny_set", rows, image=tfds.features.Image(shape=(None, None, 3)))
    streamed, held, again = (
        catalogue.read("tiny_set", tmp_path, False, "6x4", centre_crop, stream)
        for stream in ("on", "off", "on")
    )
    assert len(list((tmp_path / "cache" / "tfqkd" / "records").iterdir())) == 2
    for each in (streamed, again):
        np.testing.assert_array_equal(each.train.images[:], held.train.images)
        np.testing.assert_array_equal(each.train.images[[7, 2]], held.train.images[[7, 2]])
        np.testing.assert_array_equal(each.train.labels, held.train.labels)
    np.testing.assert_array_equal(streamed.train.images.open(4), rows["train"][4]["image"])
    assert streamed.fingerprint == again.fingerprint != held.fingerprint


def test_set_that_is_not_on_disk_says_how_to_get_it_and_tfds_nothing(tmp_path, caplog):
    with pytest.raises(FileNotFoundError, match=r"'cifar10'.*--data_dir=DIR.*--download.*copy"):
        catalogue.read("cifar10", tmp_path, download=False, image_size=0)
    assert caplog.records == []


def test_download_prepares_the_set_first(tmp_path, monkeypatch):
    store(tmp_path, "tiny_set", {"train": examples(4), "test": examples(2)})
    calls = []
    monkeypatch.setattr(
        tfds.core.DatasetBuilder,
        "download_and_prepare",
        lambda builder: calls.append(builder.name),
    )
    catalogue.read("tiny_set", tmp_path, download=True, image_size=0)
    assert calls == ["tiny_set"]


def test_without_network_a_download_says_how_to_provide_the_set(tmp_path, monkeypatch):
    def download_and_prepare(builder):
        # What TFDS raises in the end; it tries for minutes before.
        raise requests.exceptions.ConnectionError("Max retries exceeded\nwith url")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", download_and_prepare)
    with pytest.raises(RuntimeError) as error:
        catalogue.read("cifar100", tmp_path, download=True, image_size=0)
    text = str(error.value)
    assert "Received: 'cifar100'; TensorFlow Datasets says: ConnectionError: Max" in text
    assert f"copy its directory to {tmp_path}/cifar100/3." in text
    assert "*.tfrecord*" in text
    assert len(text.splitlines()) == 1


def test_a_full_disk_is_no_matter_of_the_network(tmp_path, monkeypatch):
    def download_and_prepare(builder):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", download_and_prepare)
    with pytest.raises(OSError, match="No space left") as error:
        catalogue.read("cifar100", tmp_path, download=True, image_size=0)
    assert error.value.errno == errno.ENOSPC


@pytest.mark.parametrize("name", ["CIFAR_10", "cifar 10", "cifar10/"])
def test_unknown_name_suggests_known_ones(tmp_path, name):
    with pytest.raises(ValueError, match=f"Received: '{name}'. Did you mean .*cifar10"):
        catalogue.read(name, tmp_path, download=False, image_size=0)


@pytest.mark.parametrize("name", ["imagenet_resized/9x9", "cifar10:9.9.9"])
def test_name_that_tfds_refuses_is_explained(tmp_path, name):
    with pytest.raises(ValueError, match=f"Received: '{name}'. TensorFlow Datasets says: "):
        catalogue.read(name, tmp_path, download=False, image_size=0)


@pytest.mark.parametrize("key", ["pythonClassName", "type"])
def test_code_that_a_set_names_is_not_imported(tmp_path, monkeypatch, key):
    (tmp_path / "foreign_module.py").write_text(
        f"open({str(tmp_path / 'trace')!r}, 'w').close()\nclass Image: pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    store(tmp_path, "tiny_set", {"train": examples(4), "test": examples(2)})
    (file,) = tmp_path.glob("tiny_set/*/features.json")
    text = file.read_text()
    assert "tensorflow_datasets.core.features.image_feature.Image" in text
    poisoned = text.replace(
        "tensorflow_datasets.core.features.image_feature.Image", "foreign_module.Image"
    )
    file.write_text(poisoned.replace("pythonClassName", key))
    with pytest.raises(ValueError, match=r"foreign_module\.Image, which is not of TensorFlow"):
        catalogue.read("tiny_set", tmp_path, download=False, image_size=0)
    assert not (tmp_path / "trace").exists()


def test_a_set_of_a_community_is_refused_before_the_network_is_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(tfds, "builder", lambda *_, **__: pytest.fail("asked"))
    for name in ("huggingface:mnist", "somebody:pictures/small"):
        with pytest.raises(ValueError, match="whose code is somebody else's"):
            catalogue.read(name, tmp_path, download=False, image_size=0)
