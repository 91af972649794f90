"""Reads a folder of image files, one folder a class."""

import contextlib
import dataclasses
import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from tfqkd.data.images import ImageData, Split
from tfqkd.data.locations import root_of
from tfqkd.data.pictures import Pictures
from tfqkd.data.problems import Problems
from tfqkd.data.sizing import is_streamed, sides
from tfqkd.runtime.pictures import (
    READABLE,
    SUFFIXES,
    UnreadablePictureError,
    has_colour,
    open_picture,
    to_pixels,
)
from tfqkd.storage import digest

_TEST_SHARE = 5  # One image in five is a test image where the folder does not say which.


class _Listing(NamedTuple):
    """The image files of one split; file `i` shows the class `class_names[labels[i]]`."""

    class_names: tuple[str, ...]
    paths: list[Path]
    labels: np.ndarray


class BadFileError(ValueError):
    """A file that is no image of the data set.

    Args:
      rule: What it breaks.
      received: The file.
      advice: What to do.
    """

    def __init__(self, rule: str, received: str, advice: str) -> None:
        super().__init__(f"{rule} Received: {received}. {advice}")
        self.problem = rule, received, advice


@dataclasses.dataclass(frozen=True)
class FileImages:
    """Image files, as `tfqkd.data.pictures.Source`.

    Attributes:
      root: The data folder.
      paths: The files in it.
      shape: Height, width and channels of the images.
      resizes: Whether files of another size are resized, not refused.
      centre_crop: Whether the part in the middle is resized, not the whole.
    """

    root: Path
    paths: Sequence[Path]
    shape: tuple[int, int, int]
    resizes: bool
    centre_crop: bool

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 in hex over names and sizes of the files, and how they are shown."""
        names = [f"{path.relative_to(self.root)} {path.stat().st_size}" for path in self.paths]
        return digest(*names, f"{self.shape} {self.centre_crop}")

    def open(self, row: int) -> Image.Image:
        """Decodes a file.

        Raises:
          BadFileError: If it cannot be read.
        """
        path = self.paths[row]
        try:
            return open_picture(path)
        except UnreadablePictureError as error:
            rule, advice = READABLE
            raise BadFileError(rule, f"{path}: {error.__cause__}", advice) from error

    def pixels(self, row: int) -> np.ndarray:
        """Decodes a file, resized.

        Raises:
          BadFileError: If it cannot be read, or has another size and may not.
        """
        image, (height, width, _) = self.open(row), self.shape
        if not self.resizes and image.size != (width, height):
            raise BadFileError(
                f"Images must all be of one size, {width}x{height} as the first.",
                f"{self.paths[row]} of {image.width}x{image.height}",
                "Set `image_size` to resize them.",
            )
        return to_pixels(image, self.shape, self.centre_crop)


def read(
    path: Path, image_size: int | str, centre_crop: bool = False, stream: str = "auto"
) -> ImageData:
    """Reads `path/train/<class>/*` and `path/test/<class>/*`, or `path/<class>/*`.

    Where there is neither `train` nor `test`, a fixed stratified draw of one image in five is the
    test split. Files end in .png, .jpg or .jpeg; hidden ones are passed over. Classes, and files
    in a class, are in the order of their names. If any file has colour, in train or in test, the
    data is RGB, and its grey files become RGB; else it is grey. Files are decoded, rotated as EXIF says,
    made opaque and resized as `bin/predict` does, so that a model sees what it was trained on.

    Args:
      path: The folder.
      image_size: What images are resized to, `N` or `HxW`; 0 leaves them as they are.
      centre_crop: Whether the part in the middle that has the new proportions is resized, not the whole.
      stream: As for `tfqkd.data.load`.

    Returns:
      The images, named `folder:PATH`.

    Raises:
      ValueError: If the folder has another layout, a class is empty, train and test differ in their
        classes, links lead out of the folder, files are no images, images differ in size while
        `image_size` is 0, or they do not fit memory and may not be streamed. All bad files are told at
        once; those that are streamed when they are asked for.
    """
    name = f"folder:{path}"
    root = root_of(path)
    problems = Problems()
    folders = {entry.name: entry for entry in _entries(root, root, problems)}
    problems.refuse()

    def splits_of(listings: list[_Listing]) -> list[Split]:
        return _read_all(name, root, listings, image_size, centre_crop, stream, problems)

    if not folders.keys() & {"train", "test"}:
        listing = _list_files(root, root, problems)
        (stored,) = splits_of([listing])
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
    train, test = splits_of(listings)
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


def _read_all(
    name: str,
    root: Path,
    listings: list[_Listing],
    image_size: int | str,
    centre_crop: bool,
    stream: str,
    problems: Problems,
) -> list[Split]:
    """Decodes the files of all splits, or lets them be decoded when they are asked for.

    Raises:
      ValueError: If there are problems, those of the listings among them, or memory is short.
    """
    paths = [path for listing in listings for path in listing.paths]
    height, width = sides(image_size) or _first_size(paths)
    shape = (height, width, 3 if any(map(has_colour, paths)) else 1)
    streamed = is_streamed(stream, name, len(paths), shape)
    sources = [
        FileImages(root, listing.paths, shape, bool(sides(image_size)), centre_crop)
        for listing in listings
    ]
    pictures: list[np.ndarray | Pictures]
    if streamed:
        problems.refuse()
        pictures = [Pictures(source, range(len(source.paths)), shape) for source in sources]
    else:
        pictures = [_decoded(source, problems) for source in sources]
        problems.refuse()
    return [Split(*both) for both in zip(pictures, (each.labels for each in listings), strict=True)]


def _decoded(source: FileImages, problems: Problems) -> np.ndarray:
    images = np.empty((len(source.paths), *source.shape), np.uint8)

    def fill(row: int) -> tuple[str, str, str] | None:
        try:
            images[row] = source.pixels(row)
        except BadFileError as error:
            return error.problem
        return None

    with ThreadPoolExecutor() as executor:
        for problem in executor.map(fill, range(len(images))):
            if problem:
                problems.add(*problem)
    return images


def _first_size(paths: list[Path]) -> tuple[int, int]:
    """Height and width of the first image that can be read; of one pixel if none can."""
    for path in paths:
        with contextlib.suppress(UnreadablePictureError):
            width, height = open_picture(path).size
            return height, width
    return 1, 1
