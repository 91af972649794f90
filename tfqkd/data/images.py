"""Labelled images in memory: a split, and the splits of one data set. Needs NumPy only."""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tfqkd.storage import digest

_CHUNK = 4096  # Images counted at a time: a histogram needs eight bytes a pixel while it counts.


@dataclass(frozen=True, eq=False)
class Split:
    """Images and their labels, row for row.

    Attributes:
      images: uint8 `[N, H, W, C]`, pixels 0..255.
      labels: int64 `[N]`, class numbers from 0.

    Raises:
      ValueError: If a shape or dtype is another, or there is no image.
    """

    images: np.ndarray
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

    @cached_property
    def images_fingerprint(self) -> str:
        """SHA-256 in hex over the shape and the pixels of the images, not over the labels."""
        return digest(str(self.images.shape), _bytes(self.images))

    def take(self, rows: np.ndarray) -> "Split":
        """Returns a copy of the examples at `rows`, an int array `[M]`, in that order."""
        return Split(self.images[rows], self.labels[rows])

    def sample(self, count: int) -> np.ndarray:
        """Returns up to `count` images at even distances: of those sorted by class some of each."""
        rows = np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(int)
        return self.images[rows]

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
                "A stratified draw needs two examples of each class, and as many examples as "
                f"classes both drawn and left. Received: {count} of {len(self)} examples to draw, "
                f"{len(sizes)} classes, the smallest of {min(sizes)}. Draw another number of "
                "examples, or add images."
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

    Raises:
      ValueError: If a label is not below the number of classes, or images differ in shape.
    """

    name: str
    class_names: tuple[str, ...]
    train: Split
    validation: Split | None
    test: Split

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
        """How often each of the values 0..255 occurs in `train`, for each channel."""
        images = self.train.images
        counts = np.zeros((images.shape[-1], 256), np.int64)
        for start in range(0, len(images), _CHUNK):
            chunk = images[start : start + _CHUNK]
            for channel in range(len(counts)):
                counts[channel] += np.bincount(chunk[..., channel].ravel(), minlength=256)
        return counts.tolist()

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean pixel of `train`, per channel, in pixel units 0..255."""
        return tuple(
            sum(value * count for value, count in enumerate(row)) / sum(row)
            for row in self._pixel_counts
        )

    @property
    def std(self) -> tuple[float, ...]:
        """Population standard deviation of the pixels of `train`, per channel, in pixel units."""
        return tuple(
            (sum(count * (value - mean) ** 2 for value, count in enumerate(row)) / sum(row)) ** 0.5
            for row, mean in zip(self._pixel_counts, self.mean, strict=True)
        )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 in hex over the class names and the contents of all splits, not over `name`."""
        parts: list[Any] = [json.dumps(self.class_names)]
        for role, split in self._splits().items():
            labels = split.labels.astype("<i8")
            parts += [f"{role}{split.images.shape}", _bytes(split.images), labels.data]
        return digest(*parts)


def _bytes(images: np.ndarray) -> memoryview:
    return np.ascontiguousarray(images).reshape(-1).data
