"""Runs a LiteRT (.tflite) file that tfqkd exported."""

import json
import os
import pathlib
from typing import Any

import numpy as np

from tfqkd.runtime.images import checked_images
from tfqkd.runtime.signature import INPUT, METADATA, OUTPUT, SIGNATURE

try:
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.interpreter import Interpreter

    from tfqkd.runtime.expansion import expand
except ImportError as error:
    raise ImportError(
        "LiteRT files need the package ai-edge-litert. Received: an environment without it. "
        "Install it with: pip install 'tfqkd[export]'"
    ) from error


class LitertModel:
    """A LiteRT file as a function from images to logits.

    Example:
        ```python
        model = LitertModel("student-int8.tflite", threads=2)
        best = model.class_names[model(images)[0].argmax()]
        ```

    Attributes:
        path: The file.
        class_names: The names of the classes in the order of the logits; None if the file holds
            none.
        input_shape: (H, W, C) of one image.
        inputs: The signature's inputs: a shape by name, None where any size is taken.
        outputs: The signature's outputs.

    Args:
        path: A file that `tfqkd.export.to_litert` wrote.
        threads: How many threads one call uses; the runtime's own choice by default.
        direct: Give the file to the runtime as it is, without widening codes of 2 and 4 bits.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, or not one of tfqkd's.
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
        content = self.path.read_bytes()
        interpreter = self._interpreter(content, threads, direct)
        inputs = interpreter.get_signature_list().get(SIGNATURE, {"inputs": [], "outputs": []})
        if (inputs["inputs"], inputs["outputs"]) != ([INPUT], [OUTPUT]):
            raise ValueError(
                f"A file of tfqkd has the signature {SIGNATURE}({INPUT}) -> {OUTPUT}. "
                f"Received: {self.path} with {interpreter.get_signature_list()}. "
                "Export the model with tfqkd.export.to_litert."
            )
        self._runner = interpreter.get_signature_runner(SIGNATURE)
        self.inputs = _shapes(self._runner.get_input_details())
        self.outputs = _shapes(self._runner.get_output_details())
        self.input_shape: tuple[int, ...] = tuple(size or 0 for size in self.inputs[INPUT][1:])
        names = _metadata(content).get("class_names")
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
        return self._runner(**{INPUT: pixels})[OUTPUT]

    def _interpreter(self, content: bytes, threads: int | None, direct: bool) -> Interpreter:
        try:
            if not content:
                raise ValueError("the file is empty")
            # Checks the file as it is; the runtime says what a damaged one lacks.
            interpreter = Interpreter(model_content=content, num_threads=threads)
            widened = content if direct else expand(content)
            if widened is not content:
                interpreter = Interpreter(model_content=widened, num_threads=threads)
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ValueError(
                f"A LiteRT file must be complete and readable. Received: {self.path} "
                f"({len(content)} bytes): {error}. Copy it or export it again."
            ) from error
        return interpreter


def _shapes(details: dict[str, Any]) -> dict[str, tuple[int | None, ...]]:
    return {
        name: tuple(None if size < 0 else int(size) for size in tensor["shape_signature"])
        for name, tensor in details.items()
    }


def _metadata(content: bytes) -> dict[str, Any]:
    model = schema.Model.GetRootAs(content)
    for index in range(model.MetadataLength()):
        entry = model.Metadata(index)
        if entry.Name() == METADATA.encode():
            return json.loads(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes())
    return {}
