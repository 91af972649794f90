"""Re-reads a TFLite file: are the kernels in it those that were meant, in the types that were meant?"""

import dataclasses
import pathlib
import struct
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tfqkd.export import tflite
from tfqkd.export.tflite import CODE_BITS, StoredKernel, kernel_operators, schema
from tfqkd.export.verification import ExportError
from tfqkd.runtime.packing import unpack

_Operator = schema.BuiltinOperator
# Folding multiplies a channel by one factor: two float32 roundings, and those of the fit.
_ROUNDING = 2.0**-20
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


def check_layers(kernels: Sequence[StoredKernel], quantized: Mapping[str, np.ndarray]) -> None:
    """Compares the kernels of a file with those of the Keras layers that were meant to be quantized.

    Batch normalisation is folded into the file's kernels, so that each of their channels is a
    multiple of the channel in Keras.

    Args:
        kernels: What the file holds.
        quantized: By layer, its Keras kernel, float32 [channels, weights of a channel].

    Raises:
        ExportError: If such a layer is not stored as codes, or a channel is another one.
    """
    stored = {layer: kernel for kernel in kernels if kernel.planes for layer in kernel.layers}
    for layer, rows in quantized.items():
        if layer not in stored:
            raise ExportError(
                f"Every quantized layer must be stored as codes. Received: layer '{layer}', whose "
                "kernel in the file lies on no grid of at most 8 bits: its quantizer has other "
                "levels, or the converter has folded more than a factor a channel into it, as of a "
                "batch normalisation before the layer. Nothing was written. Export to "
                "litert-float16 or saved_model, or put the normalisation after the layer."
            )
        kernel = stored[layer]
        value = np.sum([plane.values for plane in kernel.planes], axis=0)
        received = np.moveaxis(value, kernel.planes[0].axis, 0).reshape(len(rows), -1)
        wrong = _other_channels(received.astype(np.float64), rows.astype(np.float64))
        if wrong.size:
            raise ExportError(
                f"Each channel of a stored kernel must be a multiple of the channel in Keras. "
                f"Received: layer '{layer}', whose channel {wrong[0]} is another one. {_ADVICE}"
            )


def _other_channels(received: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Returns the rows of `received` that are no multiple of the row in `expected`."""
    squares = np.maximum((expected**2).sum(axis=1), np.finfo(np.float64).tiny)
    factors = (received * expected).sum(axis=1) / squares
    errors = np.abs(received - factors[:, np.newaxis] * expected).max(axis=1)
    return np.flatnonzero(errors > _ROUNDING * np.abs(received).max(axis=1))


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
        if not np.array_equal(weights.reshape(tensors[0].shape), expected.kernel.value):
            raise _wrong(layer, "float32 weights that are not the model's")
        return
    if found.read_directly:
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
