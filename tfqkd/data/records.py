"""The records of a TensorFlow Datasets split, each read when it is asked for."""

import dataclasses
import functools
import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tfqkd.data.pictures import to_image
from tfqkd.data.resizing import resize
from tfqkd.data.tfrecords import records
from tfqkd.runtime.pictures import in_mode
from tfqkd.storage import digest, whole_file

_FRAME = 12  # Bytes before a record: its length, and the checksum of that.
_TRAILER = 4
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}  # By the number of channels, which are of 8 bits.


@dataclasses.dataclass(frozen=True)
class RecordIndex:
    """Where the records of a split are, and their labels: int64 `[N]` each.

    Attributes:
      files: Numbers of the files.
      offsets: Where the records begin in them.
      lengths: Of the records, in bytes.
      labels: Numbers of classes.
    """

    files: np.ndarray
    offsets: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray


@dataclasses.dataclass(frozen=True)
class RecordImages:
    """Images in TFRecord files, as `tfqkd.data.pictures.Source`.

    Attributes:
      paths: The files.
      index: Of the records.
      channels: Of an image, 1 to 4.
      image_size: As for `tfqkd.data.load`.
      centre_crop: As for `tfqkd.data.load`.
    """

    paths: Sequence[str]
    index: RecordIndex
    channels: int
    image_size: int | str
    centre_crop: bool

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 in hex over the files' names, the records' lengths and labels, and how they are shown."""
        names = [Path(path).name for path in self.paths]
        parts = (self.index.lengths, self.index.labels)
        numbers = [part.astype("<i8").data for part in parts]
        return digest(*names, *numbers, f"{self.image_size} {self.centre_crop}")

    def open(self, row: int) -> Image.Image:
        """Returns an image as it is stored."""
        return to_image(self._stored(row))

    def pixels(self, row: int) -> np.ndarray:
        """Returns an image, resized."""
        return resize(self._stored(row), self.image_size, self.centre_crop)

    def _stored(self, row: int) -> np.ndarray:
        index = self.index
        with Path(self.paths[index.files[row]]).open("rb") as file:
            file.seek(int(index.offsets[row]))
            record = file.read(int(index.lengths[row]))
        return decoded(parsed(record)[0], self.channels)


def parsed(record: bytes) -> tuple[bytes, int]:
    """Returns the encoded image and the label of a record."""
    # TFDS reads it without TensorFlow, by protocol buffers of its own.
    from tensorflow_datasets.proto import tf_example_generated_pb2  # noqa: PLC0415

    features = tf_example_generated_pb2.Example.FromString(record).features.feature
    return features["image"].bytes_list.value[0], features["label"].int64_list.value[0]


def decoded(encoded: bytes, channels: int) -> np.ndarray:
    """Returns an image uint8 `[H, W, channels]`, always by Pillow; TFDS takes what is installed."""
    with Image.open(io.BytesIO(encoded), formats=("PNG", "JPEG")) as file:
        image = np.asarray(in_mode(file, _MODES[channels]))
    return image.reshape(*image.shape[:2], channels)


def index_of(paths: Sequence[str]) -> RecordIndex:
    """Finds the records of TFRecord files, in the first call by reading all of them.

    What was found is kept for later calls, in the folder `tfqkd/records` of the user's cache
    (XDG_CACHE_HOME, or ~/.cache).

    Args:
      paths: Files of examples with an `image` and a `label`.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "tfqkd" / "records"
    stats = [Path(path).stat() for path in paths]
    known = [
        f"{path} {stat.st_size} {stat.st_mtime_ns}" for path, stat in zip(paths, stats, strict=True)
    ]
    kept = cache / f"{digest(*known)}.npz"
    if not kept.exists():
        print(f"Looks through {len(paths)} files for where their images are.", flush=True)
        found = _found(paths)
        cache.mkdir(parents=True, exist_ok=True)
        with whole_file(kept) as draft, draft.open("wb") as file:
            np.savez(file, **vars(found))
    with np.load(kept) as arrays:
        return RecordIndex(**{name: arrays[name] for name in arrays.files})


def _found(paths: Sequence[str]) -> RecordIndex:
    parts = []
    for number, path in enumerate(paths):
        both = [(len(record), parsed(record)[1]) for record in records(Path(path))]
        if not both:
            continue
        lengths, labels = np.array(both, np.int64).T
        ends = np.cumsum(lengths + _FRAME + _TRAILER)
        starts = ends - lengths - _TRAILER
        parts.append((np.full(len(lengths), number), starts, lengths, labels))
    return RecordIndex(*(np.concatenate(part) for part in zip(*parts, strict=True)))
