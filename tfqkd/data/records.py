"""The records of a TensorFlow Datasets split, each read when it is asked for."""

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tfqkd.compat import tf
from tfqkd.data.pictures import to_image
from tfqkd.data.sizing import resize
from tfqkd.storage import digest, whole_file

_FRAME = 12  # Bytes before a record: its length, and the checksum of that.
_TRAILER = 4
_READ_BATCH = 1024


@dataclasses.dataclass(frozen=True)
class Places:
    """Where the records of a split lie, and their labels: int64 `[N]` each.

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
      places: Of the records.
      decode: From encoded bytes to pixels uint8 `[H, W, C]`.
      image_size: As for `tfqkd.data.load`.
      centre_crop: As for `tfqkd.data.load`.
    """

    paths: Sequence[str]
    places: Places
    decode: Callable[[Any], Any]
    image_size: int | str
    centre_crop: bool

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 in hex over the files' names, the records' lengths and labels, and how they are shown."""
        names = [Path(path).name for path in self.paths]
        parts = (self.places.lengths, self.places.labels)
        numbers = [part.astype("<i8").data for part in parts]
        return digest(*names, *numbers, f"{self.image_size} {self.centre_crop}")

    def open(self, row: int) -> Image.Image:
        """Returns an image as it is stored."""
        return to_image(self._stored(row).numpy())

    def pixels(self, row: int) -> np.ndarray:
        """Returns an image, resized."""
        return np.asarray(resize(self._stored(row), self.image_size, self.centre_crop))

    def _stored(self, row: int) -> Any:
        places = self.places
        with Path(self.paths[places.files[row]]).open("rb") as file:
            file.seek(int(places.offsets[row]))
            record = file.read(int(places.lengths[row]))
        features = tf.train.Example.FromString(record).features.feature
        # On the processor: the accelerator is for the model.
        with tf.device("CPU:0"):
            return self.decode(features["image"].bytes_list.value[0])


def places_of(paths: Sequence[str]) -> Places:
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
        print(f"Looks through {len(paths)} files for where their images lie.", flush=True)
        found = _found(paths)
        cache.mkdir(parents=True, exist_ok=True)
        with whole_file(kept) as draft, draft.open("wb") as file:
            np.savez(file, **vars(found))
    with np.load(kept) as arrays:
        return Places(**{name: arrays[name] for name in arrays.files})


def _found(paths: Sequence[str]) -> Places:
    spec = {"label": tf.io.FixedLenFeature([], tf.int64)}
    parts = []
    for number, path in enumerate(paths):
        batches = tf.data.TFRecordDataset(path).batch(_READ_BATCH)
        read = batches.map(
            lambda records: (
                tf.strings.length(records),
                tf.io.parse_example(records, spec)["label"],
            ),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        both = list(read.as_numpy_iterator())
        if not both:
            continue
        lengths, labels = (
            np.concatenate([part[i] for part in both]).astype(np.int64) for i in (0, 1)
        )
        ends = np.cumsum(lengths + _FRAME + _TRAILER)
        starts = ends - lengths - _TRAILER
        parts.append((np.full(len(lengths), number), starts, lengths, labels))
    return Places(*(np.concatenate(part) for part in zip(*parts, strict=True)))
