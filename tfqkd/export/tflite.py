"""Edits TFLite files: integer codes in place of float kernels, and an entry in the metadata."""

import dataclasses
from collections.abc import Iterator

import numpy as np
from ai_edge_litert.tools import flatbuffer_utils
from ai_edge_litert.tools.flatbuffer_utils import schema_fb as schema

from tfqkd.export.grid import Grid, find_grid

_Operator = schema.BuiltinOperator
_Type = schema.TensorType
# https://www.tensorflow.org/lite/performance/quantization_spec
_CHANNEL_AXES = {
    _Operator.CONV_2D: 0,
    _Operator.DEPTHWISE_CONV_2D: 3,
    _Operator.FULLY_CONNECTED: 0,
    _Operator.TRANSPOSE_CONV: 0,
}
_KERNEL_INPUT = 1  # Of each of these operators.
_PER_CHANNEL_DEQUANTIZE = 5  # The operator's version that knows one scale per channel.


@dataclasses.dataclass(frozen=True)
class FileKernel:
    """A constant kernel in a TFLite file.

    Attributes:
        names: The names of its tensor and of what it computes; the converter joins Keras layer
            names in them.
        tensor: Its tensor.
        axis: The axis of its output channels.
        value: Its weights, float32.
    """

    names: str
    tensor: schema.TensorT
    axis: int
    value: np.ndarray


def read(content: bytes) -> schema.ModelT:
    """Returns a file's content as objects that can be changed."""
    return flatbuffer_utils.read_model_from_bytearray(bytearray(content))


def write(model: schema.ModelT) -> bytes:
    """Returns the content of the file that `model` describes."""
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def float_kernels(model: schema.ModelT) -> Iterator[FileKernel]:
    """Yields the float32 kernels of convolutions and dense layers, each once."""
    seen: set[int] = set()
    for graph in model.subgraphs:
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex].builtinCode
            if code not in _CHANNEL_AXES:
                continue
            tensor = graph.tensors[operator.inputs[_KERNEL_INPUT]]
            data = model.buffers[tensor.buffer].data
            if tensor.type != _Type.FLOAT32 or data is None or id(tensor) in seen:
                continue
            seen.add(id(tensor))
            output = graph.tensors[operator.outputs[0]]
            value = np.frombuffer(data.tobytes(), "<f4").reshape(tensor.shape)
            names = f"{tensor.name.decode()};{output.name.decode()}"
            yield FileKernel(names, tensor, _CHANNEL_AXES[code], value)


def store_kernels(model: schema.ModelT, bits: int | None) -> list[tuple[FileKernel, Grid | None]]:
    """Stores every kernel that lies on a grid as int8 codes with a scale per channel.

    The operators stay float: a DEQUANTIZE gives them codes × scales, which the runtime folds when
    it loads the file. The converter has folded batch normalisation into the kernels, one factor per
    channel, so that a kernel quantized with one step per layer has one scale per channel here.

    litert-quantizer's `dequantized_weight_recovery` writes the same for convolutions and dense
    layers, but refuses depthwise ones, and takes the smallest gap between two weights for the
    scale: wrong where no two neighbouring codes occur, and off by rounding at 8 bits.

    Args:
        model: The file; it is changed.
        bits: How many bits a code may take, at most 8; None leaves every kernel as it is.

    Returns:
        Every kernel that was found, and its grid; None if it stays float32.
    """
    kernels = []
    for kernel in list(float_kernels(model)):
        grid = None if bits is None else find_grid(kernel.value, kernel.axis, bits)
        if grid is not None:
            _dequantize(model, kernel.tensor)
            _store(model, kernel.tensor, grid)
        kernels.append((kernel, grid))
    _drop_unused_buffers(model)
    return kernels


def add_metadata(model: schema.ModelT, name: str, data: bytes) -> None:
    """Adds a named entry to the file's metadata."""
    buffer = _add_buffer(model, np.frombuffer(data, np.uint8))
    model.metadata = [*(model.metadata or []), schema.MetadataT(name=name, buffer=buffer)]


def _store(model: schema.ModelT, tensor: schema.TensorT, grid: Grid) -> None:
    tensor.type = _Type.INT8
    tensor.buffer = _add_buffer(model, np.frombuffer(grid.codes.tobytes(), np.uint8))
    tensor.quantization = schema.QuantizationParametersT(
        scale=grid.scales,
        zeroPoint=np.zeros(len(grid.scales), np.int64),
        quantizedDimension=grid.axis,
    )


def _dequantize(model: schema.ModelT, tensor: schema.TensorT) -> None:
    """Puts a DEQUANTIZE between a constant and all that reads it."""
    graph = next(graph for graph in model.subgraphs if any(t is tensor for t in graph.tensors))
    constant = next(index for index, other in enumerate(graph.tensors) if other is tensor)
    output = len(graph.tensors)
    graph.tensors.append(
        schema.TensorT(
            name=tensor.name + b"/dequantized", shape=tensor.shape, type=_Type.FLOAT32, hasRank=True
        )
    )
    for operator in graph.operators:
        operator.inputs = [output if index == constant else index for index in operator.inputs]
    opcode = _dequantize_opcode(model)
    # A constant needs nothing computed before it: the front of the list is always in order.
    graph.operators.insert(
        0, schema.OperatorT(opcodeIndex=opcode, inputs=[constant], outputs=[output])
    )


def _dequantize_opcode(model: schema.ModelT) -> int:
    for index, code in enumerate(model.operatorCodes):
        if code.builtinCode == _Operator.DEQUANTIZE and code.version >= _PER_CHANNEL_DEQUANTIZE:
            return index
    model.operatorCodes.append(
        schema.OperatorCodeT(
            builtinCode=_Operator.DEQUANTIZE,
            deprecatedBuiltinCode=_Operator.DEQUANTIZE,
            version=_PER_CHANNEL_DEQUANTIZE,
        )
    )
    return len(model.operatorCodes) - 1


def _add_buffer(model: schema.ModelT, data: np.ndarray) -> int:
    model.buffers.append(schema.BufferT(data=data))
    return len(model.buffers) - 1


def _drop_unused_buffers(model: schema.ModelT) -> None:
    """Empties the buffers that nothing refers to; the others keep their numbers."""
    used = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    used |= {entry.buffer for entry in model.metadata or []}
    for index, buffer in enumerate(model.buffers):
        if index not in used:
            buffer.data = None
