"""Runs an ONNX file that tfqkd exported."""

import json

import numpy as np

from tfqkd.runtime.images import as_codes
from tfqkd.runtime.inputs import Arrays
from tfqkd.runtime.loaded_model import LoadedModel, Tensors
from tfqkd.runtime.signature import METADATA, Tensor

try:
    import onnxruntime
except ImportError as error:
    raise ImportError(
        "ONNX files need the package onnxruntime. Received: an environment without it. "
        "Install it with: pip install onnxruntime"
    ) from error


class OnnxModel(LoadedModel):
    """An ONNX file as a function; arguments, attributes and errors are `LoadedModel`'s.

    Unless `direct`, the runtime folds the codes of "onnx-int2" into float kernels as it loads them. Files
    that take or return integers are given whole pixels, and their codes are returned as what they stand for.
    """

    _KIND = "An ONNX"
    _ADVICE = "Copy it or export it again; 2-bit codes need onnxruntime 1.24.4 or later"

    def _open(
        self, content: bytes, threads: int | None, direct: bool
    ) -> tuple[Tensors, Tensors, str]:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3  # Errors: they are raised as well.
        self._session = _session(content, options)
        metadata = self._session.get_modelmeta().custom_metadata_map.get(METADATA, "{}")
        if not direct and json.loads(metadata).get("format") == _FOLDED:
            options.add_session_config_entry("session.disable_quant_qdq", "1")
            self._session = _session(content, options)
        inputs = {value.name: _tensor(value) for value in self._session.get_inputs()}
        outputs = {value.name: _tensor(value) for value in self._session.get_outputs()}
        self._input_types = {name: tensor.type for name, tensor in inputs.items()}
        self._said = json.loads(metadata)
        return inputs, outputs, metadata

    def _run(self, inputs: Arrays) -> Arrays:
        names = [value.name for value in self._session.get_outputs()]
        types = self._input_types
        codes = {name: as_codes(values, types[name]) for name, values in inputs.items()}
        outputs = self._session.run(names, codes)
        return {name: self._values(each) for name, each in zip(names, outputs, strict=True)}

    def _values(self, outputs: np.ndarray) -> np.ndarray:
        if "output_scale" not in self._said:
            return outputs
        zero_point, scale = self._said["output_zero_point"], self._said["output_scale"]
        return (outputs.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)


_FOLDED = "onnx-int2"
_TYPES = {
    "tensor(float)": np.float32,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(bool)": np.bool_,
}


def _session(content: bytes, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _tensor(value: onnxruntime.NodeArg) -> Tensor:
    shape = tuple(size if isinstance(size, int) else None for size in value.shape or ())
    return Tensor(shape, np.dtype(_TYPES[value.type]))
