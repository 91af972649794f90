"""Runs a model for TensorFlow Lite Micro that tfqkd exported, in TFLM's own interpreter."""

import json
import os
import pathlib
from typing import Any

import numpy as np

from tfqkd.runtime.images import as_codes
from tfqkd.runtime.inputs import Arrays
from tfqkd.runtime.loaded_model import LoadedModel, Tensors
from tfqkd.runtime.outputs import LOGITS, SIGNATURE_NAMES
from tfqkd.runtime.signature import INPUT, METADATA_ENTRY, Tensor

try:
    from tflite_micro import runtime
except ImportError as error:
    raise ImportError(
        "Models for microcontrollers are run here by the package tflite-micro. Received: an environment "
        "without it. Install it with: pip install tflite-micro"
    ) from error

MODEL_FILE = "model.tflite"
_STEP = 16
"""Arenas are multiples of it."""
_FIRST, _LARGEST = 2**14, 2**30


class MicroModel(LoadedModel):
    """A folder of a model for TFLM as a function; arguments, attributes and errors are `LoadedModel`'s.

    Images are run one by one, as on the device. Neither `threads` nor `direct` changes anything.

    Example:
        ```python
        model = MicroModel("student.tflm")
        best = model.class_names[model(images)[0].argmax()]
        ```
    """

    _KIND = "A TFLM"

    def _content(self, path: pathlib.Path) -> bytes:
        return (path / MODEL_FILE).read_bytes()

    def _open(
        self, content: bytes, threads: int | None, direct: bool
    ) -> tuple[Tensors, Tensors, str]:
        said = (self.path / METADATA_ENTRY).read_text("utf-8")
        # Another version of TFLM may need a little more than that of the export.
        self._interpreter = interpreter(content, 2 * json.loads(said)["arena_bytes"])
        taken, returned = self._details()
        return (
            {INPUT: Tensor((None, *taken["shape"][1:].tolist()), np.dtype(np.uint8))},
            {
                SIGNATURE_NAMES[LOGITS]: Tensor(
                    (None, *returned["shape"][1:].tolist()), np.dtype(np.float32)
                )
            },
            said,
        )

    def _run(self, inputs: Arrays) -> Arrays:
        _, returned = self._details()
        parameters = returned["quantization_parameters"]
        scale, zero_point = (parameters[name][0] for name in ("scales", "zero_points"))
        codes = computed(self._interpreter, as_codes(inputs[INPUT], np.int8))
        values = (codes.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)
        return dict.fromkeys(self.outputs, values)

    def _details(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return self._interpreter.get_input_details(0), self._interpreter.get_output_details(0)


def interpreter(content: bytes, arena_bytes: int) -> Any:
    """Returns TFLM's interpreter of a file.

    Raises:
        RuntimeError: If the arena is too small, or an operator is not among TFLM's.
    """
    return runtime.Interpreter.from_bytes(content, arena_size=arena_bytes)


def computed(made: Any, images: np.ndarray) -> np.ndarray:
    """Returns the codes that an interpreter computes for codes, one image after the other."""
    found = []
    for image in images:
        made.set_input(image[np.newaxis], 0)
        made.invoke()
        found.append(made.get_output(0)[0].copy())
    return np.stack(found)


def smallest_arena(content: bytes) -> int:
    """Returns the fewest bytes, a multiple of 16, in which the interpreter can prepare a file.

    They hold what is only there while it prepares too.

    Raises:
        RuntimeError: If it can in none: an operator is not among TFLM's.
    """
    high = _FIRST
    while not _fits(content, high):
        high *= 2
        if high > _LARGEST:
            interpreter(content, high)
    low = 0 if high == _FIRST else high // 2
    while high - low > _STEP:
        middle = (low + high) // 2 // _STEP * _STEP
        low, high = (low, middle) if _fits(content, middle) else (middle, high)
    return high


def _fits(content: bytes, arena_bytes: int) -> bool:
    """Whether a copy of this process can prepare a file: in some too small ones TFLM's decoder crashes."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            interpreter(content, arena_bytes)
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
