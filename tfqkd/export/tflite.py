"""Edits TFLite files: integer codes in place of float kernels, and an entry in the metadata."""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
from ai_edge_litert.tools import flatbuffer_utils
from ai_edge_litert.tools.flatbuffer_utils import schema_fb as schema

from tfqkd.export.codes import CodedKernel, find_planes, round_to_codes
from tfqkd.export.owners import Owners
from tfqkd.export.stored_kernels import StoredKernel, as_rows
from tfqkd.runtime.packing import pack

_Operator = schema.BuiltinOperator
_Type = schema.TensorType
# https://www.tensorflow.org/lite/performance/quantization_spec
CHANNEL_AXES = {
    _Operator.CONV_2D: 0,
    _Operator.DEPTHWISE_CONV_2D: 3,
    _Operator.FULLY_CONNECTED: 0,
    _Operator.TRANSPOSE_CONV: 0,
    _Operator.CONV_3D: 4,
    _Operator.CONV_3D_TRANSPOSE: 3,
    _Operator.GATHER: 1,
}
"""The operators with a kernel, and its axis of output channels."""
# By a kernel's number of axes and channel axis: output channel, the axes of space, input channel.
_ORDERS = {
    (2, 0): (0, 1),
    (4, 0): (0, 1, 2, 3),
    (4, 3): (3, 1, 2, 0),
    (5, 4): (4, 0, 1, 2, 3),
    (5, 3): (3, 0, 1, 2, 4),
    (2, 1): (1, 0),
}
_KERNEL_INPUTS = {_Operator.GATHER: 0}  # Of the others it is 1.
_TABLES = (_Type.FLOAT32, _Type.INT8)
_VERSIONS = {_Operator.DEQUANTIZE: 5}  # The first version that knows one scale per channel.
CODE_TYPES = {2: _Type.INT2, 4: _Type.INT4, 8: _Type.INT8}
"""The types of tensors that hold codes of 2, 4 and 8 bits."""
CODE_BITS = {type_: bits for bits, type_ in CODE_TYPES.items()}
"""How many bits a code takes in a tensor of a type."""


@dataclasses.dataclass(frozen=True)
class FileKernel:
    """A constant kernel in a TFLite file.

    Attributes:
        names: For each operator that reads it, the names of its tensor and of what it computes; the
            converter joins Keras layer names in them.
        tensor: Its tensor.
        axis: The axis of its output channels.
        value: Its weights, float32.
    """

    names: tuple[str, ...]
    tensor: schema.TensorT
    axis: int
    value: np.ndarray


def read(content: bytes) -> schema.ModelT:
    """Returns a file's content as objects that can be changed."""
    return flatbuffer_utils.read_model_from_bytearray(bytearray(content))


def write(model: schema.ModelT) -> bytes:
    """Returns the content of the file that `model` describes."""
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def constant_kernels(
    model: schema.ModelT, graph: schema.SubGraphT
) -> Iterator[tuple[list[schema.OperatorT], int, list[schema.TensorT]]]:
    """Yields the kernels that are made of constants, in the order in which operators read them.

    Yields:
        The operators that read it, the index of the tensor that they read, and the constants that
        this one is, or is computed from.
    """
    made_by = {operator.outputs[0]: operator for operator in graph.operators}
    readers: dict[int, list[schema.OperatorT]] = {}
    for operator in graph.operators:
        kind = model.operatorCodes[operator.opcodeIndex].builtinCode
        kernel = operator.inputs[_KERNEL_INPUTS.get(kind, 1)] if kind in CHANNEL_AXES else None
        if kernel is not None and (kind != _Operator.GATHER or _is_table(graph.tensors[kernel])):
            readers.setdefault(kernel, []).append(operator)
    for index, operators in readers.items():
        constants = _constants(model, graph, made_by, index)
        if constants is not None:
            yield operators, index, constants


def float_kernels(model: schema.ModelT) -> Iterator[FileKernel]:
    """Yields the float32 kernels of convolutions and dense layers, each once."""
    for graph in model.subgraphs:
        for operators, index, _ in constant_kernels(model, graph):
            tensor = graph.tensors[index]
            data = model.buffers[tensor.buffer].data
            if tensor.type != _Type.FLOAT32 or data is None:
                continue
            value = np.frombuffer(data.tobytes(), "<f4").reshape(tensor.shape)
            axis = CHANNEL_AXES[model.operatorCodes[operators[0].opcodeIndex].builtinCode]
            # Of layers with equal kernels the converter keeps one constant, with one's name.
            outputs = [graph.tensors[operator.outputs[0]].name.decode() for operator in operators]
            name = tensor.name.decode()
            names = [f"{name};{outputs[0]}"] if len(outputs) == 1 else outputs
            yield FileKernel(tuple(names), tensor, axis, value)


def store_kernels(
    model: schema.ModelT,
    smallest_bits: int | None,
    owners: Owners,
    *,
    rounds_head: bool = False,
    multiplies_codes: bool = False,
) -> list[StoredKernel]:
    """Stores every kernel that has codes as integers with a scale per channel.

    Unless `multiplies_codes`, the operators stay float: a DEQUANTIZE gives them codes × scales, and
    an ADD the sum of two planes. Codes below 8 bits that a convolution reads directly are wrong on
    LiteRT's kernels, or crash them. The converter has folded batch normalisation into the kernels,
    one factor per channel, so that a kernel quantized with one step per layer has one scale per
    channel here.

    litert-quantizer's `dequantized_weight_recovery` writes the same for convolutions and dense
    layers, but refuses depthwise ones, and takes the smallest gap between two weights for the
    scale: wrong where no two neighbouring codes occur, and off by rounding at 8 bits.

    Args:
        model: The file; it is changed.
        smallest_bits: The fewest bits that a stored code takes: 2, 4 or 8; None leaves every kernel
            as it is.
        owners: The kernels of the Keras layers.
        rounds_head: Round the last kernel to 8 bits, if it has no codes.
        multiplies_codes: Let dense layers read 2-bit codes themselves, which LiteRT has kernels
            for: they round the activations to int8.

    Returns:
        Every kernel that was found, in the order of the operators that read them.
    """
    kernels = []
    found = list(float_kernels(model))
    for kernel in found:
        planes = () if smallest_bits is None else find_planes(kernel.value, kernel.axis)
        is_rounded = rounds_head and kernel is found[-1] and not planes
        if is_rounded:
            planes = (round_to_codes(kernel.value, kernel.axis),)
        bits = tuple(max(plane.bits, smallest_bits or 8) for plane in planes)
        is_direct = multiplies_codes and kernel.value.ndim == 2 and bits == (2,)
        if planes:
            _store(model, kernel.tensor, planes, bits, is_direct)
        order = _ORDERS[kernel.value.ndim, kernel.axis]
        layers = owners.find(kernel.names, as_rows(kernel.value, order).astype(np.float64))
        kernels.append(
            StoredKernel(layers, kernel.value, order, planes, bits, is_rounded, is_direct)
        )
    _drop_unused_buffers(model)
    return kernels


def drop_inner_names(model: schema.ModelT) -> None:
    """Removes the names of all tensors but the inputs and outputs; the signatures stay."""
    for graph in model.subgraphs:
        outer = {*graph.inputs, *graph.outputs}
        for index, tensor in enumerate(graph.tensors):
            if index not in outer:
                tensor.name = None


def add_metadata(model: schema.ModelT, name: str, data: bytes) -> None:
    """Adds a named entry to the file's metadata."""
    buffer = _add_buffer(model, np.frombuffer(data, np.uint8))
    model.metadata = [*(model.metadata or []), schema.MetadataT(name=name, buffer=buffer)]


def _is_table(tensor: schema.TensorT) -> bool:
    """Whether what rows are gathered from may be the table of an Embedding."""
    return len(tensor.shape) == 2 and tensor.type in _TABLES


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


def _store(
    model: schema.ModelT,
    tensor: schema.TensorT,
    planes: tuple[CodedKernel, ...],
    widths: tuple[int, ...],
    is_direct: bool,
) -> None:
    """Makes a constant the sum of its planes, for all operators that read it."""
    graph = next(graph for graph in model.subgraphs if any(t is tensor for t in graph.tensors))
    constant = next(index for index, other in enumerate(graph.tensors) if other is tensor)
    operators, parts = [], []
    for number, (plane, bits) in enumerate(zip(planes, widths, strict=True)):
        codes = tensor if number == 0 else schema.TensorT(shape=tensor.shape, hasRank=True)
        index = constant if number == 0 else _add_tensor(graph, codes)
        codes.name = tensor.name
        codes.type = CODE_TYPES[bits]
        codes.buffer = _add_buffer(model, pack(plane.codes, bits))
        codes.quantization = schema.QuantizationParametersT(
            scale=plane.scales.copy(),  # What is checked later must not change with the file.
            zeroPoint=np.zeros(len(plane.scales), np.int64),
            quantizedDimension=plane.axis,
        )
        if is_direct:
            return
        parts.append(_add_float(graph, tensor))
        operators.append(_operator(model, _Operator.DEQUANTIZE, [index], parts[-1]))
    output = parts[0]
    if len(parts) == 2:
        output = _add_float(graph, tensor)
        addition = _operator(model, _Operator.ADD, parts, output)
        addition.builtinOptionsType = schema.BuiltinOptions.AddOptions
        addition.builtinOptions = schema.AddOptionsT()
        operators.append(addition)
    for operator in graph.operators:
        operator.inputs = [output if index == constant else index for index in operator.inputs]
    # A constant needs nothing computed before it: the front of the list is always in order.
    graph.operators[:0] = operators


def _add_float(graph: schema.SubGraphT, like: schema.TensorT) -> int:
    name = like.name + b"/dequantized"
    tensor = schema.TensorT(name=name, shape=like.shape, type=_Type.FLOAT32, hasRank=True)
    return _add_tensor(graph, tensor)


def _add_tensor(graph: schema.SubGraphT, tensor: schema.TensorT) -> int:
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _operator(model: schema.ModelT, kind: int, inputs: list[int], output: int) -> schema.OperatorT:
    opcode = _opcode(model, kind, _VERSIONS.get(kind, 1))
    return schema.OperatorT(opcodeIndex=opcode, inputs=inputs, outputs=[output])


def _opcode(model: schema.ModelT, kind: int, version: int) -> int:
    for index, code in enumerate(model.operatorCodes):
        if code.builtinCode == kind and code.version >= version:
            return index
    code = schema.OperatorCodeT(builtinCode=kind, deprecatedBuiltinCode=kind, version=version)
    model.operatorCodes.append(code)
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
