"""Loads an image classification data set by name."""

import dataclasses
import os
from pathlib import Path

import numpy as np

from tfqkd.data import arrays, digits, folders
from tfqkd.data.images import ImageData, Split
from tfqkd.data.locations import ARRAYS, FOLDER, require_name
from tfqkd.data.sizing import sides

__all__ = ["ImageData", "Split", "load"]

STREAMS = ("auto", "on", "off")


def load(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    download: bool = False,
    validation_split: float = 0.0,
    train_examples: int = 0,
    image_size: int | str = 0,
    centre_crop: bool = False,
    stream: str = "auto",
    seed: int = 0,
) -> ImageData:
    """Loads a data set; the same arguments always give the same images.

    It is held in memory as arrays, or, where that would take more than half of what is available, read when
    images are asked for (`tfqkd.data.Pictures`): files of a folder, records of TensorFlow Datasets, an
    uncompressed file of arrays.

    The test split depends on `name` and `image_size` alone.

    Args:
      name: `digits` (scikit-learn's, no download), `folder:PATH` (see `tfqkd.data.folders.read`),
        `arrays:FILE.npz` (see `tfqkd.data.arrays.read`), or the name of an image classification set
        of TensorFlow Datasets such as `cifar100`. Such a set must have `train` and `test` splits;
        `validation` is the test split of a set that has no `test`, or one without labels, and is not read
        of others.
      data_dir: Where TensorFlow Datasets keeps its data; its own default if None.
      download: Whether to download a TensorFlow Datasets set that is not there yet.
      validation_split: Share of the training images, in [0, 0.5], that is set aside for validation,
        of every class alike.
      train_examples: Number of training images to keep, of every class alike, once the validation
        images are out; 0 keeps all.
      image_size: What images are resized to: the side of a square in pixels, or text such as
        `24x32`, height and width; 0 leaves their size.
      centre_crop: Whether the part in the middle that has the new proportions is resized, not the whole.
      stream: "auto", or "on" or "off" to read images when they are asked for, or hold them in memory,
        whatever their size.
      seed: 0..2**31-1; draws the validation and training images.

    Returns:
      The splits and class names.

    Raises:
      ValueError: If an argument is out of range, the name is unknown, or the data does not fit.
      FileNotFoundError: If a TensorFlow Datasets set is not on disk and `download` is False.
      RuntimeError: If it cannot be downloaded.

    Example:
      >>> load("digits", validation_split=0.2).image_shape
      (8, 8, 1)
    """
    _check(validation_split, train_examples, image_size, stream, seed)
    require_name(name)
    if name == "digits":
        if stream == "on":
            raise ValueError(
                "`stream` must be auto or off for digits, which come in memory. Received: stream=on."
            )
        data = digits.read(image_size, centre_crop)
    elif name.startswith(FOLDER):
        path = Path(name.removeprefix(FOLDER))
        data = folders.read(path, image_size, centre_crop, stream)
    elif name.startswith(ARRAYS):
        data = arrays.read(Path(name.removeprefix(ARRAYS)), image_size, centre_crop, stream)
    else:
        from tfqkd.data import catalogue  # noqa: PLC0415 (the others do without TensorFlow)

        data = catalogue.read(name, data_dir, download, image_size, centre_crop, stream)
    train, validation = data.train, None
    if validation_split:
        validation, train = train.draw(round(validation_split * len(train)), seed)
    if train_examples > len(train):
        raise ValueError(
            f"`train_examples` must be at most {len(train)}, the training images of {name!r} "
            f"without validation images. Received: train_examples={train_examples}. "
            "Use 0 for all of them."
        )
    if train_examples not in (0, len(train)):
        train, _ = train.draw(train_examples, seed)
    return dataclasses.replace(data, train=train, validation=validation, centre_crop=centre_crop)


def unlabelled(data: ImageData, like: ImageData) -> ImageData:
    """Returns the training images of a data set, without its labels, as data for another one's task.

    Args:
      data: Whose training images are kept; its labels and its other splits are not read.
      like: Gives classes and test images, and the shape that images must have.

    Raises:
      ValueError: If images differ in shape.
    """
    images = data.train.images
    nothing = Split(images, np.zeros(len(images), np.int64))
    return ImageData(data.name, like.class_names, nothing, None, like.test)


def _check(
    validation_split: float, train_examples: int, image_size: int | str, stream: str, seed: int
) -> None:
    if not 0 <= validation_split <= 0.5:
        raise ValueError(
            "`validation_split` must be a share of the training images from 0 to 0.5. Received: "
            f"validation_split={validation_split}. Use 0 for no validation split."
        )
    if train_examples < 0:
        raise ValueError(
            "`train_examples` must be a number of images. "
            f"Received: train_examples={train_examples}. Use 0 for all of them."
        )
    sides(image_size)
    if stream not in STREAMS:
        raise ValueError(
            f"`stream` must be one of {', '.join(STREAMS)}. Received: stream={stream!r}. Leave it at auto."
        )
    if not 0 <= seed < 2**31:
        raise ValueError(
            f"`seed` must be 0 to 2**31 - 1. Received: seed={seed}. Choose one in this range."
        )
