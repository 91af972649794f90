"""What an exported file is once it is loaded: a function from images to logits."""

import abc
import json
import os
import pathlib

import numpy as np

from tfqkd.runtime.images import checked_images
from tfqkd.runtime.signature import INPUT, OUTPUT, SIGNATURE

Shapes = dict[str, tuple[int | None, ...]]
"""Shapes by name, None where any size is taken."""


class LoadedModel(abc.ABC):
    """An exported file as a function from images to logits.

    Attributes:
        path: The file.
        class_names: The names of the classes in the order of the logits; None if the file holds
            none.
        input_shape: (H, W, C) of one image.
        inputs: The signature's inputs: a shape by name, None where any size is taken.
        outputs: The signature's outputs.

    Args:
        path: A file that tfqkd exported.
        threads: How many threads one call uses; the runtime's own choice by default.
        direct: Give the file to the runtime as it is; see `tfqkd.runtime.load`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If `threads` is below 1, or the file is damaged or not one of tfqkd's.
    """

    _KIND: str
    _ADVICE = "Copy it or export it again"

    def __init__(
        self, path: str | os.PathLike[str], threads: int | None = None, *, direct: bool = False
    ) -> None:
        if threads is not None and threads < 1:
            raise ValueError(
                f"`threads` must be at least 1, or None. Received: threads={threads}. "
                "Leave it out to let the runtime choose."
            )
        self.path = pathlib.Path(path)
        content = self.path.read_bytes()
        try:
            self.inputs, self.outputs, metadata = self._open(content, threads, direct)
        except Exception as error:  # The runtimes' own exceptions have no common base.
            raise ValueError(
                f"{self._KIND} file must be complete and readable. Received: {self.path} "
                f"({len(content)} bytes): {error}. {self._ADVICE}."
            ) from error
        if (list(self.inputs), list(self.outputs)) != ([INPUT], [OUTPUT]):
            raise ValueError(
                f"A file of tfqkd has the signature {SIGNATURE}({INPUT}) -> {OUTPUT}. "
                f"Received: {self.path} with {self.inputs} -> {self.outputs}. "
                "Export the model with tfqkd.export."
            )
        self.input_shape: tuple[int, ...] = tuple(size or 0 for size in self.inputs[INPUT][1:])
        names = json.loads(metadata).get("class_names")
        self.class_names: tuple[str, ...] | None = None if names is None else tuple(names)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Returns the logits of a batch of any size.

        Args:
            images: Pixels in 0..255, uint8 or float32 [N, H, W, C], N ≥ 1.

        Returns:
            float32 [N, classes].

        Raises:
            TypeError: If `images` has another type of number.
            ValueError: If `images` has another shape.
        """
        return self._run(checked_images(images, self.input_shape))

    @abc.abstractmethod
    def _open(
        self, content: bytes, threads: int | None, direct: bool
    ) -> tuple[Shapes, Shapes, str]:
        """Prepares the runtime; returns inputs, outputs and the metadata, a JSON object."""

    @abc.abstractmethod
    def _run(self, pixels: np.ndarray) -> np.ndarray:
        """Returns the logits of images that were checked."""
