"""What an exported file is once it is loaded: a function from images to what the model returns."""

import abc
import json
import os
import pathlib

import numpy as np

from tfqkd.runtime.images import checked_images
from tfqkd.runtime.outputs import LOGITS, OUTPUTS, SIGNATURE_NAMES
from tfqkd.runtime.signature import INPUT, SIGNATURE

Shapes = dict[str, tuple[int | None, ...]]
"""Shapes by name, None where any size is taken."""


class LoadedModel(abc.ABC):
    """An exported file as a function from images to what the model returns, logits mostly.

    Attributes:
        path: The file.
        class_names: The names of the classes in the order of the outputs; None if the file holds
            none.
        output: What the file returns, of `tfqkd.runtime.outputs.OUTPUTS`; "logits" if it does not
            say, as files of earlier versions.
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
        names = list(dict.fromkeys(SIGNATURE_NAMES.values()))
        if (
            list(self.inputs) != [INPUT]
            or len(self.outputs) != 1
            or not set(self.outputs) <= {*names}
        ):
            raise ValueError(
                f"A file of tfqkd has the signature {SIGNATURE}({INPUT}) -> {' or '.join(names)}. "
                f"Received: {self.path} with {self.inputs} -> {self.outputs}. "
                "Export the model with tfqkd.export."
            )
        self.input_shape: tuple[int, ...] = tuple(size or 0 for size in self.inputs[INPUT][1:])
        said = json.loads(metadata)
        classes = said.get("class_names")
        self.class_names: tuple[str, ...] | None = None if classes is None else tuple(classes)
        self.output: str = said.get("output", LOGITS)
        if self.output not in OUTPUTS:
            raise ValueError(
                f"A file must return one of {', '.join(OUTPUTS)}. "
                f"Received: {self.path} with output={self.output!r}. Install the tfqkd that wrote it."
            )

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Returns what the model does for a batch of any size; see `output`.

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
        """Returns what the model does for images that were checked."""
