"""Reads image classification sets of the TensorFlow Datasets catalogue."""

import json
import logging
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from tfqkd.data.cifar import CLASS_NAMES
from tfqkd.data.images import ImageData, Split
from tfqkd.data.locations import how_to_provide, unknown
from tfqkd.data.pictures import Pictures
from tfqkd.data.records import RecordImages, decoded, index_of, parsed
from tfqkd.data.resizing import resize
from tfqkd.data.sizing import is_streamed, sides
from tfqkd.data.tfrecords import records


def read(
    name: str,
    data_dir: str | os.PathLike[str] | None,
    download: bool,
    image_size: int | str,
    centre_crop: bool = False,
    stream: str = "auto",
) -> ImageData:
    """Reads a data set, in the order it is stored in.

    It must have a `train` split, a `test` split, an `image` and a `label`. Where there is no `test` or its
    images have no labels, as those of `imagenet2012`, but a `validation` split, that one is the test split;
    beside a `test` split with labels it is not read.

    Args:
      name: Its TFDS name, such as `cifar100`, `imagenet_resized/32x32` or `mnist:3.0.1`.
      data_dir: Where TFDS keeps its data; its own default if None.
      download: Whether to download and prepare what is not there yet.
      image_size: What images are resized to, `N` or `HxW`; 0 leaves them as they are.
      centre_crop: Whether the part in the middle that has the new proportions is resized, not the whole.
      stream: As for `tfqkd.data.load`.

    Returns:
      The images.

    Raises:
      ValueError: If the name is unknown or a community's, the data set is not for image
        classification, has no test images with labels, names foreign code, has images of many sizes while
        `image_size` is 0, or does not fit memory.
      FileNotFoundError: If it is not on disk and `download` is False.
      RuntimeError: If it cannot be downloaded.
    """
    builder = _builder(name, data_dir)
    image_shape = _image_shape(name, dict(builder.info.features), image_size)
    if download:
        _download(name, builder)
    if not _is_prepared(builder):
        raise FileNotFoundError(
            f"A data set must be on disk, or its download must be requested. Received: {name!r}, which is "
            f"not at {builder.data_path}. {how_to_provide(name)}"
        )
    if builder.info.file_format.value != "tfrecord":
        raise ValueError(
            f"A data set must be kept as TFRecord files. Received: {name!r} as "
            f'{builder.info.file_format.value}. Prepare it with `file_format="tfrecord"`.'
        )
    splits, test_role = builder.info.splits, _test_role(name, builder)
    count = splits["train"].num_examples + splits[test_role].num_examples
    read_split = _stream if is_streamed(stream, name, count, image_shape) else _read_split
    train, test = (
        read_split(builder, role, image_shape, image_size, centre_crop)
        for role in ("train", test_role)
    )
    return ImageData(name, _class_names(builder), train, None, test)


def _test_role(name: str, builder: Any) -> str:
    """Returns the split that is the test split: the first of `test` and `validation` that has labels."""
    splits = builder.info.splits
    there = [role for role in ("test", "validation") if role in splits]
    if "train" not in splits or not there:
        raise ValueError(
            "A data set must have a `train` split, and a `test` or `validation` split. Received: "
            f"{name!r} with {', '.join(splits)}. Choose another one, or sort the images into a "
            "folder and use `folder:PATH`."
        )
    labelled = [role for role in there if _first_label(splits[role]) >= 0]
    if not labelled:
        raise ValueError(
            f"A data set's test images must have labels. Received: {name!r}, whose split "
            f"{' and '.join(there)} has the label -1, which means unlabelled. Choose another one, or sort "
            "the images into a folder and use `folder:PATH`."
        )
    if labelled[0] != there[0]:
        print(f"{name}: its test images have no labels; validation is the test split.", flush=True)
    return labelled[0]


def _first_label(split: Any) -> int:
    stored = (record for path in split.filepaths for record in records(Path(path)))
    return next((parsed(record)[1] for record in stored), 0)


def _class_names(builder: Any) -> tuple[str, ...]:
    names = tuple(builder.info.features["label"].names)
    unnamed = names == tuple(map(str, range(len(names))))  # What TFDS makes up where it knows none.
    return CLASS_NAMES.get(builder.name, names) if unnamed else names


def _builder(name: str, data_dir: str | os.PathLike[str] | None) -> Any:
    import tensorflow_datasets as tfds  # noqa: PLC0415 (digits and folders do without)
    from tensorflow_datasets.core import naming  # noqa: PLC0415
    from tensorflow_datasets.core.utils import file_utils  # noqa: PLC0415

    try:
        dataset = naming.parse_builder_name_kwargs(name)[0]
    except ValueError as error:
        raise unknown(name) from error
    try:
        if dataset.namespace:
            raise ValueError(
                f"`{dataset.namespace}:` holds data sets whose code is somebody else's."
            )
        for directory in file_utils.list_data_dirs(data_dir):
            _require_tfds_features(Path(directory).expanduser() / dataset.name)
        return tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError as error:
        raise unknown(name) from error
    except (ValueError, AssertionError, ImportError) as error:
        raise ValueError(
            "A data set is `digits`, `folder:PATH`, `arrays:FILE.npz`, or `name[/config][:version]` "
            f"of TensorFlow Datasets. Received: {name!r}. TensorFlow Datasets says: {_first_line(error)}"
        ) from error


def _is_prepared(builder: Any) -> bool:
    # Without TFDS's warning: the error that follows says what to do.
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        return builder.is_prepared()
    finally:
        logger.setLevel(level)


def _first_line(error: BaseException) -> str:
    """What an error says, without the lists that may follow."""
    return re.sub(r" Here (is|are) \d+ .*", "", str(error).splitlines()[0])


def _require_tfds_features(directory: Path) -> None:
    """Raises ValueError if a data set's files name classes that are not TFDS's own: it would import them."""

    def look(value: dict[str, Any]) -> dict[str, Any]:
        for key in ("pythonClassName", "python_class_name", "type"):
            named = str(value.get(key, ""))
            if "." in named and not named.startswith("tensorflow_datasets."):
                raise ValueError(f"{file} names {named}, which is not of TensorFlow Datasets.")
        return value

    for file in sorted(directory.rglob("features.json")):
        json.loads(file.read_bytes(), object_hook=look)


def _download(name: str, builder: Any) -> None:
    try:
        builder.download_and_prepare()
    except MemoryError:
        raise
    except Exception as error:
        of_tensorflow = type(error).__module__.startswith("tensorflow.")
        if of_tensorflow or getattr(error, "errno", None):  # The disk's, not the network's.
            raise
        if isinstance(error, ImportError):
            raise RuntimeError(
                "TensorFlow Datasets needs TensorFlow to write its files, and a training on JAX or "
                f"PyTorch runs without it. Received: download of {name!r}. Do it once with: tfds build "
                f"{name} --data_dir={builder.data_dir_root}"
            ) from error
        said = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise RuntimeError(
            f"A data set must be reachable to be downloaded. Received: {name!r}; TensorFlow Datasets says: "
            f"{said}. {how_to_provide(name, str(builder.data_path))}"
        ) from error


def _image_shape(
    name: str, features: dict[str, Any], image_size: int | str
) -> tuple[int, int, int]:
    import tensorflow_datasets as tfds  # noqa: PLC0415 (digits and folders do without)

    image, label = features.get("image"), features.get("label")
    if not isinstance(image, tfds.features.Image) or not isinstance(
        label, tfds.features.ClassLabel
    ):
        raise ValueError(
            "A data set for image classification has the features `image`, an Image, and `label`, "
            f"a ClassLabel. Received: {name!r} with {', '.join(sorted(features))}. "
            "Choose another one."
        )
    height, width, channels = image.shape
    if image.np_dtype != np.uint8 or channels is None:
        raise ValueError(
            "Images must be uint8 with a fixed number of channels. Received: "
            f"{image.np_dtype} {image.shape} in {name!r}. Choose another data set."
        )
    size = sides(image_size)
    if size:
        return *size, channels
    if height is None or width is None:
        raise ValueError(
            f"Images of many sizes must be resized. Received: {name!r} with images of "
            f"{image.shape} and image_size=0. Set `image_size`, such as 32."
        )
    return height, width, channels


def _stream(
    builder: Any,
    role: str,
    image_shape: tuple[int, int, int],
    image_size: int | str,
    centre_crop: bool,
) -> Split:
    paths = [str(path) for path in builder.info.splits[role].filepaths]
    index = index_of(paths)
    source = RecordImages(paths, index, image_shape[-1], image_size, centre_crop)
    return Split(Pictures(source, range(len(index.labels)), image_shape), index.labels)


def _read_split(
    builder: Any,
    role: str,
    image_shape: tuple[int, int, int],
    image_size: int | str,
    centre_crop: bool,
) -> Split:
    split = builder.info.splits[role]
    images = np.empty((split.num_examples, *image_shape), np.uint8)
    labels = np.empty(split.num_examples, np.int64)
    stored = (record for path in split.filepaths for record in records(Path(path)))
    for row, (encoded, label) in enumerate(map(parsed, stored)):
        images[row] = resize(decoded(encoded, image_shape[-1]), image_size, centre_crop)
        labels[row] = label
    return Split(images, labels)
