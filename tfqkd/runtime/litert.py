"""Runs a LiteRT (.tflite) file that tfqkd exported."""

from typing import Any

import numpy as np

from tfqkd.runtime.images import as_codes
from tfqkd.runtime.inputs import Arrays
from tfqkd.runtime.loaded_model import LoadedModel, Tensors
from tfqkd.runtime.signature import METADATA, SIGNATURE, Tensor
from tfqkd.runtime.widening import is_packed, widen

try:
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.interpreter import Interpreter

    from tfqkd.runtime.expansion import expand
except ImportError as error:
    raise ImportError(
        "LiteRT files need the package ai-edge-litert. Received: an environment without it. "
        "Install it with: pip install ai-edge-litert"
    ) from error


class LitertModel(LoadedModel):
    """A LiteRT file as a function; arguments, attributes and errors are `LoadedModel`'s.

    Unless `direct`, codes of 2 and 4 bits are widened in memory, see `tfqkd.runtime.expansion`. Files that
    take or return integers are given whole pixels, and their codes are returned as what they stand for.

    Example:
        ```python
        model = LitertModel("student-int8.tflite", threads=2)
        best = model.class_names[model(images)[0].argmax()]
        ```
    """

    _KIND = "A LiteRT"

    def _open(
        self, content: bytes, threads: int | None, direct: bool
    ) -> tuple[Tensors, Tensors, str]:
        if not content:
            raise ValueError("the file is empty")
        if is_packed(content):
            content = widen(content)
        # Checks the file as it is; the runtime says what a damaged one lacks.
        interpreter = Interpreter(model_content=content, num_threads=threads)
        widened = content if direct else expand(content)
        if widened is not content:
            interpreter = Interpreter(model_content=widened, num_threads=threads)
        interpreter.allocate_tensors()
        if SIGNATURE not in interpreter.get_signature_list():
            return {}, {}, "{}"
        self._runner = interpreter.get_signature_runner(SIGNATURE)
        inputs, outputs = self._runner.get_input_details(), self._runner.get_output_details()
        self._output_steps = {name: each["quantization"] for name, each in outputs.items()}
        self._input_types = {name: each["dtype"] for name, each in inputs.items()}
        return _tensors(inputs), _tensors(outputs), _metadata(content)

    def _run(self, inputs: Arrays) -> Arrays:
        types = self._input_types
        outputs = self._runner(**{n: as_codes(values, types[n]) for n, values in inputs.items()})
        return {name: self._values(name, codes) for name, codes in outputs.items()}

    def _values(self, name: str, outputs: np.ndarray) -> np.ndarray:
        if outputs.dtype == np.float32:
            return outputs
        scale, zero_point = self._output_steps[name]
        return (outputs.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)


def _tensors(details: dict[str, Any]) -> Tensors:
    return {name: Tensor(_shape(each), np.dtype(each["dtype"])) for name, each in details.items()}


def _shape(details: dict[str, Any]) -> tuple[int | None, ...]:
    return tuple(None if size < 0 else int(size) for size in details["shape_signature"])


def _metadata(content: bytes) -> str:
    model = schema.Model.GetRootAs(content)
    for index in range(model.MetadataLength()):
        entry = model.Metadata(index)
        if entry.Name() == METADATA.encode():
            return model.Buffers(entry.Buffer()).DataAsNumpy().tobytes().decode()
    return "{}"
