"""Reads a folder of image files, one folder a class."""

import contextlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfqkd.data.images import ImageData, Split
from tfqkd.data.locations import root_of
from tfqkd.data.problems import Problems
from tfqkd.data.sizing import check_memory, sides
from tfqkd.runtime.pictures import (
    READABLE,
    SUFFIXES,
    UnreadablePictureError,
    has_colour,
    open_picture,
    to_pixels,
)

_TEST_SHARE = 5  # One image in five is a test image where the folder does not say which.


class _Listing(NamedTuple):
    """The image files of one split; file `i` shows the class `class_names[labels[i]]`."""

    class_names: tuple[str, ...]
    paths: list[Path]
    labels: np.ndarray


def read(path: Path, image_size: int | str) -> ImageData:
    """Reads `path/train/<class>/*` and `path/test/<class>/*`, or `path/<class>/*`.

    Where there is neither `train` nor `test`, a fixed stratified draw of one image in five is the
    test split. Files end in .png, .jpg or .jpeg; hidden ones are passed over. Classes, and files
    in a class, are in the order of their names. If any file has colour, in train or in test, the
    data is RGB, and its grey files become RGB; else it is grey. Files are decoded, turned upright,
    freed of transparency and resized as `bin/predict` does it, so that a model meets what it was
    trained on.

    Args:
      path: The folder.
      image_size: What images are resized to, `N` or `HxW`; 0 leaves them as they are.

    Returns:
      The images, named `folder:PATH`.

    Raises:
      ValueError: If the folder has another layout, a class is empty, train and test differ in their
        classes, links lead out of the folder, files are no images, images differ in size while
        `image_size` is 0, or they do not fit memory. All bad files are told at once.
    """
    name = f"folder:{path}"
    root = root_of(path)
    problems = Problems()
    folders = {entry.name: entry for entry in _entries(root, root, problems)}
    problems.refuse()
    if not folders.keys() & {"train", "test"}:
        listing = _list_files(root, root, problems)
        (stored,) = _decode_all(name, [listing], image_size, problems)
        test, train = stored.draw(len(stored) // _TEST_SHARE, seed=0)
        return ImageData(name, listing.class_names, train, None, test)
    if folders.keys() != {"train", "test"}:
        raise ValueError(
            f"A data folder must hold `train` and `test` and nothing else. Received: {root} with "
            f"{', '.join(folders)}. Add what is missing and move other entries away."
        )
    listings = [_list_files(folders[role], root, problems) for role in ("train", "test")]
    differing = set(listings[0].class_names) ^ set(listings[1].class_names)
    if differing:
        raise ValueError(
            "`train` and `test` must have the same classes. Received: in one of them only: "
            f"{', '.join(sorted(differing))}. Add images to the other or remove these folders."
        )
    train, test = _decode_all(name, listings, image_size, problems)
    return ImageData(name, listings[0].class_names, train, None, test)


def _entries(folder: Path, root: Path, problems: Problems) -> list[Path]:
    """Lists `folder` by name, without hidden entries; links that lead out of `root` are problems."""
    inside = []
    for entry in sorted(entry for entry in folder.iterdir() if not entry.name.startswith(".")):
        if entry.resolve().is_relative_to(root):
            inside.append(entry)
        else:
            problems.add(
                f"Links must stay inside the data folder {root}.",
                f"{entry}, which leads to {entry.resolve()}",
                "Copy the files instead.",
            )
    return inside


def _list_files(folder: Path, root: Path, problems: Problems) -> _Listing:
    """Lists the classes of `folder` and their files; what is no image file is a problem.

    Raises:
      ValueError: If entries of `folder` are no classes, which is told before files are looked at.
    """
    layout = Problems()
    classes = _entries(folder, root, layout)
    found = [_entries(entry, root, problems) if entry.is_dir() else [] for entry in classes]
    for entry in classes:
        if not (entry.is_dir() and any(not each.name.startswith(".") for each in entry.iterdir())):
            layout.add(
                f"Each entry of {folder} must be a class, a folder with at least one image.",
                str(entry),
                "Add images or remove it.",
            )
    layout.refuse()
    if not classes:
        raise ValueError(
            f"A data folder must hold one folder a class. Received: {folder}, which is empty. "
            "Add a folder with images for each class."
        )
    paths: list[Path] = []
    labels: list[int] = []
    for label, files in enumerate(found):
        for file in files:
            if file.suffix.lower() in SUFFIXES:
                paths.append(file)
                labels.append(label)
            else:
                problems.add(
                    f"A class folder may hold {', '.join(SUFFIXES)} files only.",
                    str(file),
                    "Convert them or move them away.",
                )
    return _Listing(tuple(entry.name for entry in classes), paths, np.array(labels, np.int64))


def _decode_all(
    name: str, listings: list[_Listing], image_size: int | str, problems: Problems
) -> list[Split]:
    """Decodes the files of all splits.

    Raises:
      ValueError: If there are problems, those of the listings among them, or memory is short.
    """
    paths = [path for listing in listings for path in listing.paths]
    height, width = sides(image_size) or _first_size(paths)
    shape = (height, width, 3 if any(map(has_colour, paths)) else 1)
    check_memory(name, len(paths), shape)
    splits = []
    with ThreadPoolExecutor() as executor:
        for listing in listings:
            images = np.empty((len(listing.paths), *shape), np.uint8)

            def fill(row: int, paths: list[Path] = listing.paths, out: np.ndarray = images) -> Any:
                return _decode(paths[row], out[row], any_size=bool(sides(image_size)))

            for problem in executor.map(fill, range(len(images))):
                if problem:
                    problems.add(*problem)
            splits.append((images, listing.labels))
    problems.refuse()
    return [Split(images, labels) for images, labels in splits]


def _first_size(paths: list[Path]) -> tuple[int, int]:
    """Height and width of the first image that can be read; of one pixel if none can."""
    for path in paths:
        with contextlib.suppress(UnreadablePictureError):
            width, height = open_picture(path).size
            return height, width
    return 1, 1


def _decode(path: Path, out: np.ndarray, any_size: bool) -> tuple[str, str, str] | None:
    """Decodes a file into `out`; returns the problem if that cannot be: rule, received, advice."""
    height, width, _ = out.shape
    try:
        image = open_picture(path)
    except UnreadablePictureError as error:
        rule, advice = READABLE
        return rule, f"{path}: {error.__cause__}", advice
    if not any_size and image.size != (width, height):
        rule = f"Images must all be of one size, {width}x{height} as the first."
        received = f"{path} of {image.width}x{image.height}"
        return rule, received, "Set `image_size` to resize them."
    out[:] = to_pixels(image, out.shape)
    return None
