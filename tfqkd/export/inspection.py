"""Re-reads a TFLite file: are the kernels in it those that were meant, in the types that were meant?"""

import pathlib
import struct
from collections.abc import Sequence

import numpy as np

from tfqkd.export import tflite
from tfqkd.export.kernels import Constant, FoundKernel, StoredKernel, owner, wrong_kernel
from tfqkd.export.tflite import CODE_BITS, schema
from tfqkd.export.verification import ExportError


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
    return [
        FoundKernel(
            tuple(_constant(model, tensor) for tensor in tensors),
            is_direct=model.buffers[graph.tensors[index].buffer].data is not None,
        )
        for graph in model.subgraphs
        for _, index, tensors in tflite.constant_kernels(model, graph)
    ]


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
    model: schema.ModelT, expected: Sequence[StoredKernel], weights: str, layers: Sequence[str]
) -> None:
    """Compares every kernel of a file whose weights the converter has rounded with the float one.

    Args:
        model: The file.
        expected: The float kernels.
        weights: "float16", or "int8": there a weight may be off by half a step.
        layers: The names of the Keras layers with a kernel.

    Raises:
        ExportError: If a kernel has another type, or other values; it names the layer.
    """
    missing = {layer: kernel for kernel in expected for layer in kernel.layers}
    for graph in model.subgraphs:
        for operators, _, (constant, *_) in tflite.constant_kernels(model, graph):
            for operator in operators:
                # Layers with equal kernels share a constant, which has the name of one of them.
                for tensor in (constant, graph.tensors[operator.outputs[0]]):
                    kernel = missing.pop(owner(tensor.name.decode(), layers), None)
                    if kernel is not None:
                        data = model.buffers[constant.buffer].data
                        _check_rounded(kernel, constant, data, weights)
                        break
    if missing:
        raise wrong_kernel(next(iter(missing)), "no kernel of its own")


def _check_rounded(
    kernel: StoredKernel, tensor: schema.TensorT, data: np.ndarray, weights: str
) -> None:
    expected = {"float16": schema.TensorType.FLOAT16, "int8": schema.TensorType.INT8}[weights]
    if tensor.type != expected or tuple(tensor.shape) != kernel.value.shape:
        raise wrong_kernel(kernel.layer, f"type {tensor.type} and shape {tuple(tensor.shape)}")
    if weights == "float16":
        same = np.array_equal(data.view("<f2").reshape(tensor.shape), kernel.value.astype("<f2"))
    else:
        scales = np.asarray(tensor.quantization.scale, np.float64)
        shape = [1] * len(tensor.shape)
        shape[tensor.quantization.quantizedDimension] = len(scales)
        scales = scales.reshape(shape)
        errors = np.abs(data.view(np.int8).reshape(tensor.shape) * scales - kernel.value)
        same = bool((errors <= 0.501 * scales).all())
    if not same:
        raise wrong_kernel(kernel.layer, f"{weights} weights that are not the model's")
