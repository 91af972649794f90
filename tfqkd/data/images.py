"""Labelled images: a split, and the splits of one data set. Needs no array library but NumPy."""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tfqkd.data.pictures import Pictures
from tfqkd.storage import digest

_COUNTED = 10_000  # Of images that are read when they are asked for: whose pixels are counted.
_CHUNK = 4096  # Images counted at a time: a histogram needs eight bytes a pixel while it counts.


@dataclass(frozen=True, eq=False)
class Split:
    """Images and their labels, row for row.

    Attributes:
      images: uint8 `[N, H, W, C]`, pixels 0..255: an array, or `Pictures` that are read when they are asked
        for.
      labels: int64 `[N]`, class numbers from 0.

    Raises:
      ValueError: If a shape or dtype is another, or there is no image.
    """

    images: np.ndarray | Pictures
    labels: np.ndarray

    def __post_init__(self) -> None:
        if self.images.dtype != np.uint8 or self.images.ndim != 4 or not self.images.size:
            raise ValueError(
                "`images` must be uint8 [N, H, W, C] with at least one image. Received: "
                f"{self.images.dtype} {list(self.images.shape)}. Scale pixels to 0..255 and cast."
            )
        if self.labels.dtype != np.int64 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(
                "`labels` must be int64 [N], one for each image. Received: "
                f"{self.labels.dtype} {list(self.labels.shape)} for {len(self.images)} images. "
                "Give class numbers, not one-hot rows."
            )

    def __len__(self) -> int:
        return len(self.images)

    def balanced_weights(self, classes: int) -> np.ndarray:
        """Returns what an example of each class weighs where all classes weigh the same, float32 `[classes]`.

        That is `examples / (classes that occur · examples of the class)`: 1 in the mean over examples.
        """
        counts = np.bincount(self.labels, minlength=classes)
        share = len(self) / np.count_nonzero(counts)
        return np.divide(share, counts, out=np.zeros(classes), where=counts > 0).astype(np.float32)

    @property
    def is_streamed(self) -> bool:
        """Whether images are read when they are asked for."""
        return isinstance(self.images, Pictures)

    @cached_property
    def images_fingerprint(self) -> str:
        """SHA-256 in hex over shape and pixels of the images, not the labels; of `Pictures` see there."""
        if isinstance(self.images, Pictures):
            return self.images.fingerprint
        return digest(str(self.images.shape), _bytes(self.images))

    def take(self, rows: np.ndarray) -> "Split":
        """Returns the examples at `rows`, an int array `[M]`, in that order; of an array a copy."""
        lazy = isinstance(self.images, Pictures)
        images = self.images.take(rows) if lazy else self.images[rows]
        return Split(images, self.labels[rows])

    def thinned(self, count: int) -> "Split":
        """Returns up to `count` examples at even distances: of those sorted by class some of each."""
        return self.take(np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(int))

    def sample(self, count: int) -> np.ndarray:
        """Returns the images of `thinned`."""
        return self.thinned(count).images[:]

    def draw(self, count: int, seed: int) -> tuple["Split", "Split"]:
        """Draws examples at random, from every class its share.

        Args:
          count: Number of examples to draw.
          seed: 0..2**31-1; the same seed always draws the same examples.

        Returns:
          The drawn examples and the rest, each in stored order.

        Raises:
          ValueError: If either part would have fewer examples than there are classes, or a class
            has a single example.
        """
        from sklearn.model_selection import train_test_split  # noqa: PLC0415 (slow to import)

        sizes = np.unique(self.labels, return_counts=True)[1]
        if not len(sizes) <= count <= len(self) - len(sizes) or min(sizes) < 2:
            raise ValueError(
                "A stratified draw needs two examples of each class, and must draw and leave at least one "
                f"for each class. Received: {count} of {len(self)} examples to draw, {len(sizes)} classes, "
                f"the smallest of {min(sizes)}. Draw another number of examples, or add images."
            )
        rest, drawn = train_test_split(
            np.arange(len(self)), test_size=count, random_state=seed, stratify=self.labels
        )
        return self.take(np.sort(drawn)), self.take(np.sort(rest))


@dataclass(frozen=True, eq=False)
class ImageData:
    """A data set for image classification.

    Attributes:
      name: The name it was loaded by.
      class_names: One name a class; label `i` is `class_names[i]`.
      train: What a model is trained on.
      validation: What choices are made on, if a part of the training images was set aside for it.
      test: What results are reported on.
      centre_crop: Whether stored images of another size were cut to their middle, not resized as a whole.

    Raises:
      ValueError: If a label is not below the number of classes, or images differ in shape.
    """

    name: str
    class_names: tuple[str, ...]
    train: Split
    validation: Split | None
    test: Split
    centre_crop: bool = False

    def __post_init__(self) -> None:
        for role, split in self._splits().items():
            low, high = int(split.labels.min()), int(split.labels.max())
            if low < 0 or high >= self.classes:
                raise ValueError(
                    f"Labels must be 0..{self.classes - 1}, one of {self.classes} classes. "
                    f"Received: {low}..{high} in the {role} split of {self.name!r}. "
                    "Choose a data set whose splits are all labelled."
                )
            if split.images.shape[1:] != self.image_shape:
                raise ValueError(
                    f"All images must have one shape, {self.image_shape} in train. Received: "
                    f"{split.images.shape[1:]} in the {role} split of {self.name!r}. "
                    "Set `image_size` to resize them."
                )

    def _splits(self) -> dict[str, Split]:
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        return {role: split for role, split in splits.items() if split is not None}

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of every image."""
        return self.train.images.shape[1:]

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @cached_property
    def _pixel_counts(self) -> list[list[int]]:
        """How often each of the values 0..255 occurs in `train`, or in a sample of it, for each channel."""
        images = self.train.sample(_COUNTED) if self.train.is_streamed else self.train.images
        counts = np.zeros((images.shape[-1], 256), np.int64)
        for start in range(0, len(images), _CHUNK):
            chunk = images[start : start + _CHUNK]
            for channel in range(len(counts)):
                counts[channel] += np.bincount(chunk[..., channel].ravel(), minlength=256)
        return counts.tolist()

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean pixel of `train`, per channel, in pixel units 0..255; of 10,000 images of streamed ones."""
        return tuple(map(_mean_of, self._pixel_counts))

    @property
    def std(self) -> tuple[float, ...]:
        """Population standard deviation of these pixels, per channel, in pixel units."""
        return tuple(map(_deviation_of, self._pixel_counts))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 in hex over the class names and the contents of all splits, not over `name`."""
        parts: list[Any] = [json.dumps(self.class_names)]
        for role, split in self._splits().items():
            labels = split.labels.astype("<i8")
            pixels = (
                split.images.fingerprint
                if isinstance(split.images, Pictures)
                else _bytes(split.images)
            )
            parts += [f"{role}{split.images.shape}", pixels, labels.data]
        return digest(*parts)


def _bytes(images: np.ndarray) -> memoryview:
    return np.ascontiguousarray(images).reshape(-1).data


def _mean_of(counts: list[int]) -> float:
    return sum(value * count for value, count in enumerate(counts)) / sum(counts)


def _deviation_of(counts: list[int]) -> float:
    mean = _mean_of(counts)
    squares = sum(count * (value - mean) ** 2 for value, count in enumerate(counts))
    return (squares / sum(counts)) ** 0.5
