"""Re-reads a TFLite file: are the kernels in it those that were meant, in the types that were meant?"""

import pathlib
import struct
from collections.abc import Sequence

import numpy as np

from tfqkd.export import tflite
from tfqkd.export.stored_kernels import Constant, FoundKernel, StoredKernel, wrong_kernel
from tfqkd.export.tflite import CODE_BITS, schema
from tfqkd.export.verification import ExportError

_ROUNDED = {"float16": schema.TensorType.FLOAT16, "int8": schema.TensorType.INT8}


def read_back(file: pathlib.Path) -> schema.ModelT:
    """Reads a file that was written.

    Raises:
        ExportError: If it is not complete.
    """
    content = file.read_bytes()
    try:
        return tflite.read(content)
    except (struct.error, IndexError, TypeError, ValueError) as error:
        raise ExportError(
            f"A file must be complete when it is read back. Received: {len(content)} bytes, and "
            f"{error}. Nothing was written. Make room on the disk, or choose another one."
        ) from error


def found_kernels(model: schema.ModelT) -> list[FoundKernel]:
    """Returns a file's kernels, each once, in the order of the operators that read them."""
    found = []
    for graph in model.subgraphs:
        for _, index, tensors in tflite.constant_kernels(model, graph):
            constants = tuple(_constant(model, tensor) for tensor in tensors)
            buffer = model.buffers[graph.tensors[index].buffer]
            found.append(FoundKernel(constants, is_direct=buffer.data is not None))
    return found


def _constant(model: schema.ModelT, tensor: schema.TensorT) -> Constant:
    data = np.asarray(model.buffers[tensor.buffer].data, np.uint8)
    stored = tensor.quantization
    if tensor.type not in CODE_BITS:
        return Constant(data, tuple(tensor.shape))
    return Constant(
        data,
        tuple(tensor.shape),
        CODE_BITS[tensor.type],
        np.asarray(stored.scale, np.float32),
        stored.quantizedDimension,
        bool(np.any(stored.zeroPoint)),
    )


def check_rounded_kernels(
    model: schema.ModelT, expected: Sequence[StoredKernel], weights: str
) -> None:
    """Compares the kernels of a file whose weights the converter has rounded with the float ones.

    They are told apart by what they hold: the converter joins and splits names as it likes.

    Args:
        model: The file.
        expected: The float kernels.
        weights: "float16", or "int8": there a weight may be off by half a step.

    Raises:
        ExportError: If a kernel is not there in this type, with these values; it names the layer.
    """
    found = [
        (constant, model.buffers[constant.buffer].data)
        for graph in model.subgraphs
        for _, _, (constant, *_) in tflite.constant_kernels(model, graph)
    ]
    for kernel in expected:
        alike = [each for each in found if tuple(each[0].shape) == kernel.value.shape]
        typed = [each for each in alike if each[0].type == _ROUNDED[weights]]
        if not typed and alike:
            raise ExportError(
                f"Every kernel must be rounded to {weights}. Received: layer '{kernel.layer}', whose "
                f"kernel TensorFlow's converter does not round: LiteRT has no {weights} operator for "
                "it. Nothing was written. Export to litert-int8, which is exact, or litert-int2."
            )
        if not any(_is_rounded(kernel.value, *each) for each in typed):
            raise wrong_kernel(kernel.layer, f"{weights} weights that are not the model's")


def _is_rounded(value: np.ndarray, tensor: schema.TensorT, data: np.ndarray) -> bool:
    """Whether a constant holds the weights, rounded to its type."""
    if tensor.type == schema.TensorType.FLOAT16:
        return np.array_equal(data.view("<f2").reshape(value.shape), value.astype("<f2"))
    shape = [1] * value.ndim
    shape[tensor.quantization.quantizedDimension] = -1
    scales = np.asarray(tensor.quantization.scale, np.float64).reshape(shape)
    # Of the table of an Embedding, which is rounded as activations are.
    zeros = np.asarray(tensor.quantization.zeroPoint, np.float64).reshape(shape)
    errors = np.abs((data.view(np.int8).reshape(value.shape) - zeros) * scales - value)
    return bool((errors <= 0.501 * scales).all())
