"""Re-reads a TFLite file: are the kernels in it those that were meant, in the types that were meant?"""

import dataclasses
import pathlib
import struct
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tfqkd.export import tflite
from tfqkd.export.kernels import StoredKernel, owner
from tfqkd.export.tflite import CODE_BITS, kernel_operators, schema
from tfqkd.export.verification import ExportError
from tfqkd.runtime.packing import unpack

_Operator = schema.BuiltinOperator
_ADVICE = "Nothing was written. Export to litert-float32, and report the model."


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


def check_kernels(model: schema.ModelT, expected: Sequence[StoredKernel]) -> None:
    """Compares every kernel of a file that was read back with what should stand there.

    Args:
        model: The file.
        expected: The kernels in the order of the operators that read them.

    Raises:
        ExportError: If a kernel's type, shape, codes, scales or values differ, or an operator reads
            codes without a DEQUANTIZE; it names the layer.
    """
    found = list(_kernel_constants(model))
    if len(found) != len(expected):
        raise ExportError(
            f"The file must hold {len(expected)} kernels. Received: {len(found)}. {_ADVICE}"
        )
    for parts, kernel in zip(found, expected, strict=True):
        _check_kernel(model, parts, kernel)


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
        made_by = {op.outputs[0]: op for op in graph.operators}
        for operator, index in kernel_operators(model, graph):
            (tensor,) = _constants(model, graph, made_by, index) or (None,)
            if tensor is None:
                continue
            names = f"{tensor.name.decode()};{graph.tensors[operator.outputs[0]].name.decode()}"
            kernel = missing.pop(owner(names, layers), None)
            if kernel is not None:
                _check_rounded(kernel, tensor, model.buffers[tensor.buffer].data, weights)
    if missing:
        raise _wrong(next(iter(missing)), "no kernel of its own")


def _check_rounded(
    kernel: StoredKernel, tensor: schema.TensorT, data: np.ndarray, weights: str
) -> None:
    expected = {"float16": schema.TensorType.FLOAT16, "int8": schema.TensorType.INT8}[weights]
    if tensor.type != expected or tuple(tensor.shape) != kernel.value.shape:
        raise _wrong(kernel.layer, f"type {tensor.type} and shape {tuple(tensor.shape)}")
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
        raise _wrong(kernel.layer, f"{weights} weights that are not the model's")


@dataclasses.dataclass(frozen=True)
class _Constants:
    """The constants that an operator's kernel is made of.

    Attributes:
        tensors: One for each plane.
        read_directly: Whether the operator reads the constant itself.
    """

    tensors: list[schema.TensorT]
    read_directly: bool


def _kernel_constants(model: schema.ModelT) -> Iterator[_Constants]:
    """Yields what each kernel is made of, each once, in the order of the operators."""
    for graph in model.subgraphs:
        seen: set[int] = set()
        made_by = {op.outputs[0]: op for op in graph.operators}
        for _, index in kernel_operators(model, graph):
            tensors = _constants(model, graph, made_by, index)
            if tensors is not None and index not in seen:
                seen.add(index)
                yield _Constants(tensors, read_directly=index not in made_by)


def _constants(
    model: schema.ModelT,
    graph: schema.SubGraphT,
    made_by: Mapping[int, schema.OperatorT],
    index: int,
) -> list[schema.TensorT] | None:
    """Returns the constants that a tensor is computed from, or None if it is not made of any."""
    tensor = graph.tensors[index]
    if model.buffers[tensor.buffer].data is not None:
        return [tensor]
    kinds = {_Operator.DEQUANTIZE, _Operator.ADD}
    operator = made_by.get(index)
    if operator is None or model.operatorCodes[operator.opcodeIndex].builtinCode not in kinds:
        return None
    parts = [_constants(model, graph, made_by, part) for part in operator.inputs]
    return None if None in parts else [tensor for part in parts for tensor in part or ()]


def _check_kernel(model: schema.ModelT, found: _Constants, expected: StoredKernel) -> None:
    layer, tensors = expected.layer, found.tensors
    bits = tuple(CODE_BITS[tensor.type] for tensor in tensors if tensor.type in CODE_BITS)
    if bits != expected.bits:
        raise _wrong(layer, f"codes of {bits} bits instead of {expected.bits}")
    if not expected.planes:
        weights = np.asarray(model.buffers[tensors[0].buffer].data, np.uint8).view("<f4")
        if not np.array_equal(weights.reshape(tensors[0].shape), expected.value):
            raise _wrong(layer, "float32 weights that are not the model's")
        return
    if found.read_directly and not expected.is_direct:
        raise _wrong(layer, "codes that are read directly, without a DEQUANTIZE")
    for tensor, width, plane in zip(tensors, expected.bits, expected.planes, strict=True):
        data = np.asarray(model.buffers[tensor.buffer].data, np.uint8)
        codes = unpack(data, width, int(np.prod(tensor.shape))).reshape(tensor.shape)
        if codes.shape != plane.codes.shape:
            raise _wrong(layer, f"shape {codes.shape} instead of {plane.codes.shape}")
        if not np.array_equal(codes, plane.codes):
            raise _wrong(layer, f"{np.count_nonzero(codes != plane.codes)} other codes")
        stored = tensor.quantization
        same = np.array_equal(np.asarray(stored.scale, np.float32), plane.scales)
        if not same or stored.quantizedDimension != plane.axis or np.any(stored.zeroPoint):
            raise _wrong(layer, "other scales, zero points or channel axis")


def _wrong(layer: str, received: str) -> ExportError:
    return ExportError(
        "A file that is read back must hold the codes and scales that were written. "
        f"Received: layer '{layer}' with {received}. {_ADVICE}"
    )
