"""Runs an ONNX file that tfqkd exported."""

import json
import os
import pathlib

import numpy as np

from tfqkd.runtime.images import checked_images
from tfqkd.runtime.signature import INPUT, METADATA, OUTPUT

try:
    import onnxruntime
except ImportError as error:
    raise ImportError(
        "ONNX files need the package onnxruntime. Received: an environment without it. "
        "Install it with: pip install 'tfqkd[onnx]'"
    ) from error


class OnnxModel:
    """An ONNX file as a function from images to logits.

    Attributes:
        path: The file.
        class_names: The names of the classes in the order of the logits; None if the file holds
            none.
        input_shape: (H, W, C) of one image.
        inputs: The file's inputs: a shape by name, None where any size is taken.
        outputs: The file's outputs.

    Args:
        path: A file that `tfqkd.export.to_onnx` wrote.
        threads: How many threads one call uses; the runtime's own choice by default.
        direct: Give the file to the runtime as it is. Otherwise it folds the codes into float
            kernels as it loads them, and computes at float speed.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If `threads` is below 1, or the file is damaged or not one of tfqkd's.
    """

    def __init__(
        self, path: str | os.PathLike[str], threads: int | None = None, *, direct: bool = False
    ) -> None:
        if threads is not None and threads < 1:
            raise ValueError(
                f"`threads` must be at least 1, or None. Received: threads={threads}. "
                "Leave it out to let the runtime choose."
            )
        self.path = pathlib.Path(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3  # Errors: they are raised as well.
        if not direct:
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        self._session = self._load(self.path.read_bytes(), options)
        self.inputs = {value.name: _shape(value) for value in self._session.get_inputs()}
        self.outputs = {value.name: _shape(value) for value in self._session.get_outputs()}
        if (list(self.inputs), list(self.outputs)) != ([INPUT], [OUTPUT]):
            raise ValueError(
                f"A file of tfqkd has one input, {INPUT}, and one output, {OUTPUT}. "
                f"Received: {self.path} with {self.inputs} and {self.outputs}. "
                "Export the model with tfqkd.export.to_onnx."
            )
        self.input_shape: tuple[int, ...] = tuple(size or 0 for size in self.inputs[INPUT][1:])
        metadata = self._session.get_modelmeta().custom_metadata_map.get(METADATA, "{}")
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
        pixels = checked_images(images, self.input_shape)
        return self._session.run([OUTPUT], {INPUT: pixels})[0]

    def _load(
        self, content: bytes, options: onnxruntime.SessionOptions
    ) -> onnxruntime.InferenceSession:
        try:
            return onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # The runtime's own exceptions have no common base.
            raise ValueError(
                f"An ONNX file must be complete and readable. Received: {self.path} "
                f"({len(content)} bytes): {error}. Copy it or export it again; 2-bit codes need "
                "onnxruntime 1.24.4 or later."
            ) from error


def _shape(value: onnxruntime.NodeArg) -> tuple[int | None, ...]:
    return tuple(size if isinstance(size, int) else None for size in value.shape or ())
