"""Codes and scales as they lie in a TFLite file, read without tfqkd."""

from collections.abc import Iterator

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

_BITS = {schema.TensorType.INT2: 2, schema.TensorType.INT4: 4, schema.TensorType.INT8: 8}


def stored_kernels(path) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yields the bits of a code, the codes in Keras' layout, channels last, and the scales."""
    file = flatbuffer_utils.read_model(str(path))
    for tensor in file.subgraphs[0].tensors:
        if tensor.type not in _BITS:
            continue
        bits = _BITS[tensor.type]
        # The first code lies in the lowest bits of the first byte.
        text = "".join(f"{byte:08b}"[::-1] for byte in file.buffers[tensor.buffer].data)
        words = [text[start : start + bits][::-1] for start in range(0, len(text), bits)]
        codes = np.array([int(word, 2) for word in words[: np.prod(tensor.shape)]])
        codes = np.where(codes < 2 ** (bits - 1), codes, codes - 2**bits).reshape(tensor.shape)
        assert not np.any(tensor.quantization.zeroPoint)
        # [out, h, w, in] and [out, in], but [1, h, w, channels] of depthwise kernels.
        is_depthwise = tensor.quantization.quantizedDimension == 3
        codes = codes[0] if is_depthwise else np.moveaxis(codes, 0, -1)
        yield bits, codes, np.asarray(tensor.quantization.scale, np.float32)
