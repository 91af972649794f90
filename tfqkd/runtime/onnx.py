"""Runs an ONNX file that tfqkd exported."""

import numpy as np

from tfqkd.runtime.model import LoadedModel, Shapes
from tfqkd.runtime.signature import INPUT, METADATA

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
    ) -> tuple[Shapes, Shapes, str]:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3  # Errors: they are raised as well.
        if not direct:
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        self._session = onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"]
        )
        inputs = {value.name: _shape(value) for value in self._session.get_inputs()}
        outputs = {value.name: _shape(value) for value in self._session.get_outputs()}
        metadata = self._session.get_modelmeta().custom_metadata_map.get(METADATA, "{}")
        return inputs, outputs, metadata

    def _run(self, pixels: np.ndarray) -> np.ndarray:
        return self._session.run(None, {INPUT: pixels})[0]


def _shape(value: onnxruntime.NodeArg) -> tuple[int | None, ...]:
    return tuple(size if isinstance(size, int) else None for size in value.shape or ())
