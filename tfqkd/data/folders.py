"""Reads a folder of image files, one folder a class."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from tfqkd.data.images import ImageData, Split
from tfqkd.data.places import root_of
from tfqkd.data.sizing import check_memory
from tfqkd.runtime.pictures import open_picture, to_pixels

_SUFFIXES = (".png", ".jpg", ".jpeg")
_TEST_SHARE = 5  # One image in five is a test image where the folder does not say which.


class _Listing(NamedTuple):
    """The image files of one split; file `i` shows the class `class_names[labels[i]]`."""

    class_names: tuple[str, ...]
    paths: list[Path]
    labels: np.ndarray


def read(path: Path, image_size: int) -> ImageData:
    """Reads `path/train/<class>/*` and `path/test/<class>/*`, or `path/<class>/*`.

    Where there is neither `train` nor `test`, a fixed stratified draw of one image in five is the
    test split. Files end in .png, .jpg or .jpeg; hidden ones are passed over. Classes, and files
    in a class, are in the order of their names. The first image says whether the data is grey or
    RGB; grey files among RGB ones become RGB. Files are decoded, turned upright and resized as
    `bin/predict` does it, so that a model meets what it was trained on.

    Args:
      path: The folder.
      image_size: Side of the square that images are resized to; 0 leaves them as they are.

    Returns:
      The images, named `folder:PATH`.

    Raises:
      ValueError: If the folder has another layout, a class is empty, train and test differ in their
        classes, a link leads out of the folder, a file is no image, images differ in size while
        `image_size` is 0, or they do not fit memory.
    """
    name = f"folder:{path}"
    root = root_of(path)
    folders = {entry.name: entry for entry in _entries(root, root)}
    if not folders.keys() & {"train", "test"}:
        listing = _list_files(root, root)
        (stored,) = _decode_all(name, [listing], image_size)
        test, train = stored.draw(len(stored) // _TEST_SHARE, seed=0)
        return ImageData(name, listing.class_names, train, None, test)
    if folders.keys() != {"train", "test"}:
        raise ValueError(
            f"A data folder must hold `train` and `test` and nothing else. Received: {root} with "
            f"{', '.join(folders)}. Add what is missing and move other entries away."
        )
    listings = [_list_files(folders[role], root) for role in ("train", "test")]
    differing = set(listings[0].class_names) ^ set(listings[1].class_names)
    if differing:
        raise ValueError(
            "`train` and `test` must have the same classes. Received: in one of them only: "
            f"{', '.join(sorted(differing))}. Add images to the other or remove these folders."
        )
    train, test = _decode_all(name, listings, image_size)
    return ImageData(name, listings[0].class_names, train, None, test)


def _entries(folder: Path, root: Path) -> list[Path]:
    """Lists `folder` by name, without hidden entries; refuses links that lead out of `root`."""
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    for entry in entries:
        if not entry.resolve().is_relative_to(root):
            raise ValueError(
                f"Links must stay inside the data folder {root}. Received: {entry}, which leads "
                f"to {entry.resolve()}. Copy the files instead."
            )
    return entries


def _list_files(folder: Path, root: Path) -> _Listing:
    classes = _entries(folder, root)
    paths: list[Path] = []
    labels: list[int] = []
    for label, class_folder in enumerate(classes):
        files = _entries(class_folder, root) if class_folder.is_dir() else []
        if not files:
            raise ValueError(
                f"Each entry of {folder} must be a class, a folder with at least one image. "
                f"Received: {class_folder}. Add images or remove it."
            )
        for file in files:
            if file.suffix.lower() not in _SUFFIXES:
                raise ValueError(
                    f"A class folder may hold {', '.join(_SUFFIXES)} files only. "
                    f"Received: {file}. Convert it or move it away."
                )
        paths += files
        labels += [label] * len(files)
    if not classes:
        raise ValueError(
            f"A data folder must hold one folder a class. Received: {folder}, which is empty. "
            "Add a folder with images for each class."
        )
    return _Listing(tuple(entry.name for entry in classes), paths, np.array(labels, np.int64))


def _decode(path: Path) -> Image.Image:
    """Decodes one file, whose mode is then L (grey) or RGB."""
    image = open_picture(path)
    if image.has_transparency_data:
        raise ValueError(
            "Images must be grey or RGB, without transparency. "
            f"Received: {path} of mode {image.mode}. Convert it."
        )
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _decode_all(name: str, listings: list[_Listing], image_size: int) -> list[Split]:
    first = _decode(listings[0].paths[0])
    width, height = (image_size, image_size) if image_size else first.size
    shape = (height, width, len(first.getbands()))
    check_memory(name, sum(len(listing.paths) for listing in listings), shape)

    def decode_to_shape(path: Path) -> np.ndarray:
        image = _decode(path)
        if not image_size and image.size != first.size:
            raise ValueError(
                f"Images must all be of one size, {width}x{height} as the first. Received: "
                f"{path} of {image.width}x{image.height}. Set `image_size` to resize them."
            )
        if len(image.getbands()) > shape[2]:
            raise ValueError(
                "Images must all be grey where the first one is. Received: "
                f"{path}, which is RGB. Convert the grey ones to RGB or this one to grey."
            )
        return to_pixels(image, shape)

    splits = []
    with ThreadPoolExecutor() as executor:
        for listing in listings:
            images = np.empty((len(listing.paths), *shape), np.uint8)

            def fill(row: int, paths: list[Path] = listing.paths, out: np.ndarray = images) -> None:
                out[row] = decode_to_shape(paths[row])

            for _ in executor.map(fill, range(len(images))):
                pass
            splits.append(Split(images, listing.labels))
    return splits
