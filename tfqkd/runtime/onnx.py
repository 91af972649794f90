"""Runs an ONNX file that tfqkd exported."""

import numpy as np

from tfqkd.runtime.inputs import Arrays
from tfqkd.runtime.model import LoadedModel, Tensors
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

    Unless `direct`, the runtime folds the codes into float kernels as it loads them.
    """

    _KIND = "An ONNX"
    _ADVICE = "Copy it or export it again; 2-bit codes need onnxruntime 1.24.4 or later"

    def _open(
        self, content: bytes, threads: int | None, direct: bool
    ) -> tuple[Tensors, Tensors, str]:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3  # Errors: they are raised as well.
        if not direct:
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        self._session = onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"]
        )
        inputs = {value.name: _tensor(value) for value in self._session.get_inputs()}
        outputs = {value.name: _tensor(value) for value in self._session.get_outputs()}
        metadata = self._session.get_modelmeta().custom_metadata_map.get(METADATA, "{}")
        return inputs, outputs, metadata

    def _run(self, inputs: Arrays) -> Arrays:
        names = [value.name for value in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, inputs), strict=True))


_TYPES = {
    "tensor(float)": np.float32,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}


def _tensor(value: onnxruntime.NodeArg) -> Tensor:
    shape = tuple(size if isinstance(size, int) else None for size in value.shape or ())
    return Tensor(shape, np.dtype(_TYPES[value.type]))
