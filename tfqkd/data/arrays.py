"""Reads a data set from the arrays of one file, as `numpy.savez` writes it."""

import dataclasses
import functools
import math
import zipfile
import zlib
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from PIL import Image

from tfqkd.data.images import ImageData, Split
from tfqkd.data.pictures import Pictures, to_image
from tfqkd.data.problems import Problems
from tfqkd.data.resizing import resize
from tfqkd.data.sizing import is_streamed, sides
from tfqkd.process.messages import first_line
from tfqkd.storage import digest

_ROLES = ("train", "test")
_NEEDED = tuple(f"{role}_{kind}" for role in _ROLES for kind in ("images", "labels"))
_NAMES = "class_names"
_HOLDS = f"A file of arrays must hold {', '.join(_NEEDED)}, and may hold {_NAMES}."
# What a damaged archive raises.
_UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
_RESIZED_AT_ONCE = 1024
_LOCAL_HEADER = (
    30  # Bytes of a file's header in a zip archive, before its name (APPNOTE.TXT 4.3.7).
)


class _Header(NamedTuple):
    """What a file says of an array before its contents."""

    shape: tuple[int, ...]
    dtype: np.dtype


def read(
    path: Path, image_size: int | str, centre_crop: bool = False, stream: str = "auto"
) -> ImageData:
    """Reads `train_images`, `train_labels`, `test_images`, `test_labels` and `class_names`.

    Images are uint8 `[N, H, W, C]` with C 1 or 3, labels integers `[N]` from 0, class names text
    `[classes]`; without names the classes are called by their numbers. Pickled objects are not
    read.

    Args:
      path: The file, written by `numpy.savez` or `numpy.savez_compressed`.
      image_size: What images are resized to, `N` or `HxW`; 0 leaves them as they are.
      centre_crop: Whether the part in the middle that has the new proportions is resized, not the whole.
      stream: As for `tfqkd.data.load`.

    Returns:
      The images, named `arrays:FILE.npz`.

    Raises:
      ValueError: If there is no such file, an array is missing, of another dtype or shape, or they
        do not fit memory; told by what the file says of its arrays, before they are read.
    """
    name = f"arrays:{path}"
    headers = require_arrays(path)
    height, width, channels = headers["train_images"].shape[1:]
    size = sides(image_size)
    count = sum(headers[f"{role}_images"].shape[0] for role in _ROLES)
    # Before images are resized they are in memory as they are.
    largest = max((height, width), size or (0, 0), key=math.prod)
    streamed = is_streamed(stream, name, count, (*largest, channels))
    images = [f"{role}_images" for role in _ROLES]
    try:
        with np.load(path.expanduser(), allow_pickle=False) as file:
            stored = {each: file[each] for each in headers if not (streamed and each in images)}
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error
    class_names = _class_names(path, stored)
    pictures: list[np.ndarray | Pictures]
    if streamed:
        shape = (*(size or (height, width)), channels)
        shown = [StoredImages(mapped(path, each), image_size, centre_crop) for each in images]
        pictures = [Pictures(source, range(len(source.images)), shape) for source in shown]
    else:
        pictures = [_resized(stored[each], image_size, centre_crop) for each in images]
    labels = [stored[f"{role}_labels"].astype(np.int64) for role in _ROLES]
    train, test = map(Split, pictures, labels)
    return ImageData(name, class_names, train, None, test)


@dataclasses.dataclass(frozen=True)
class StoredImages:
    """Images of an array in a file, as `tfqkd.data.pictures.Source`.

    Attributes:
      images: The array, mapped from the file.
      image_size: As for `read`.
      centre_crop: As for `read`.
    """

    images: np.memmap
    image_size: int | str
    centre_crop: bool

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 in hex over the file's size and time, where it holds the array, and how it is shown."""
        file = Path(str(self.images.filename)).stat()
        where = f"{file.st_size} {file.st_mtime_ns} {self.images.offset}"
        return digest(where, f"{self.images.shape} {self.image_size} {self.centre_crop}")

    def open(self, row: int) -> Image.Image:
        """Returns an image as it is stored."""
        return to_image(np.asarray(self.images[row]))

    def pixels(self, row: int) -> np.ndarray:
        """Returns an image, resized."""
        return _resized(np.asarray(self.images[row : row + 1]), self.image_size, self.centre_crop)[
            0
        ]


def mapped(path: Path, name: str) -> np.memmap:
    """Maps an array of a file that `numpy.savez` wrote into memory.

    Raises:
      ValueError: If the file is compressed.
    """
    file = path.expanduser()
    with zipfile.ZipFile(file) as archive, file.open("rb") as stream:
        entry = archive.getinfo(f"{name}.npy")
        if entry.compress_type != zipfile.ZIP_STORED:
            raise ValueError(
                f"Arrays that are streamed from a file must not be compressed. Received: {name} in {path}. "
                "Write the file with numpy.savez, not with savez_compressed."
            )
        stream.seek(entry.header_offset)
        header = stream.read(_LOCAL_HEADER)
        lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        stream.seek(lengths, 1)
        shape, dtype = _header(stream)
        return np.memmap(file, dtype, "r", stream.tell(), shape)


def require_arrays(path: Path) -> dict[str, _Header]:
    """Refuses a file whose arrays are not those of a data set, without reading them.

    Args:
      path: The file.

    Returns:
      What it says of each of the arrays that are read.

    Raises:
      ValueError: If it is such a file; all that is wrong with its arrays is told at once.
    """
    file = path.expanduser()
    if not file.is_file():
        raise ValueError(
            f"`arrays:FILE.npz` must name a file. Received: 'arrays:{path}', where there is none. "
            "Check the path."
        )
    try:
        headers = _headers(file)
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error
    problems = Problems()
    for name in _NEEDED:
        if name not in headers:
            problems.add(_HOLDS, f"{path} without {name}", "Add it.")
    for name, (shape, dtype) in headers.items():
        rule = _broken_rule(name, shape, dtype, headers)
        if rule:
            problems.add(rule[0], f"{name} {dtype} {list(shape)} in {path}", rule[1])
    problems.refuse()
    return headers


def _headers(path: Path) -> dict[str, _Header]:
    headers = {}
    with zipfile.ZipFile(path) as archive:
        there = set(archive.namelist())
        for name in (*_NEEDED, _NAMES):
            if f"{name}.npy" not in there:
                continue
            with archive.open(f"{name}.npy") as stream:
                headers[name] = _header(stream)
    return headers


def _header(stream: IO[bytes]) -> _Header:
    old = np.lib.format.read_magic(stream) == (1, 0)
    read = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    return _Header(shape, dtype)


def _broken_rule(
    name: str, shape: tuple[int, ...], dtype: np.dtype, headers: dict[str, _Header]
) -> tuple[str, str] | None:
    """Returns the rule that an array breaks, and what to do; None if it breaks none."""
    if name == _NAMES:
        fits = dtype.kind == "U" and len(shape) == 1 and shape[0] > 0
        rule = f"`{_NAMES}` must be text [classes], no objects.", "Write it as numpy.array(names)."
    elif name.endswith("_labels"):
        images = headers.get(name.replace("labels", "images"), _Header(shape, dtype)).shape
        fits = dtype.kind in "iu" and len(shape) == 1 and shape[:1] == images[:1]
        rule = (
            "Labels must be integers [N], one for each image.",
            "Give class numbers, not one-hot rows; flatten a column with labels.ravel().",
        )
    else:
        first = headers.get("train_images", _Header(shape, dtype)).shape
        fits = (
            dtype == np.uint8 and len(shape) == 4 and shape[-1] in (1, 3) and math.prod(shape) > 0
        )
        fits = fits and shape[1:] == (first[1:] if len(first) == 4 else shape[1:])
        rule = (
            "Images must be uint8 [N, H, W, C], C 1 or 3, of one shape in train and test.",
            "Scale pixels to 0..255 and cast; grey images need an axis: images[..., None].",
        )
    return None if fits else rule


def _class_names(path: Path, stored: dict[str, np.ndarray]) -> tuple[str, ...]:
    """Returns the names of the classes, once each label is known to be one's number.

    Raises:
      ValueError: If a label has no name, or, without names, a number below the highest no label.
    """
    labels = np.concatenate([np.unique(stored[f"{role}_labels"]) for role in _ROLES])
    low, high, different = int(labels.min()), int(labels.max()), len(set(labels.tolist()))
    classes = len(stored[_NAMES]) if _NAMES in stored else different
    if low < 0 or high >= classes:
        which = "each of them named" if _NAMES in stored else "without gaps"
        raise ValueError(
            f"Labels must be class numbers from 0, {which}. Received: {low}..{high} in {path}, for "
            f"{classes} classes. Renumber the classes, or give their `{_NAMES}`."
        )
    return tuple(map(str, stored[_NAMES].tolist() if _NAMES in stored else range(classes)))


def _resized(images: np.ndarray, image_size: int | str, centre_crop: bool) -> np.ndarray:
    size = sides(image_size)
    if size is None or size == images.shape[1:3]:
        return images
    out = np.empty((len(images), *size, images.shape[-1]), np.uint8)
    for start in range(0, len(images), _RESIZED_AT_ONCE):
        part = slice(start, start + _RESIZED_AT_ONCE)
        out[part] = resize(images[part], image_size, centre_crop)
    return out


def _unreadable(path: Path, error: BaseException) -> ValueError:
    said = first_line(error)
    return ValueError(
        f"{_HOLDS} Received: {path}, which cannot be read: {said}. Write it with numpy.savez."
    )
