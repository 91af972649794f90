"""Widens the codes of a TFLite file in memory, so that the runtime computes at float speed."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from tfqkd.runtime.packing import unpack

_Operator = schema.BuiltinOperator
_Type = schema.TensorType
_BITS = {_Type.INT2: 2, _Type.INT4: 4}


def expand(content: bytes) -> bytes:
    """Returns a file that computes the same, with int8 codes in place of narrower ones.

    XNNPACK, LiteRT's fast kernels, folds the DEQUANTIZE of int8 codes when it prepares a file, but
    not that of 2 or 4 bits: there all convolutions fall back to slow kernels. The sum of two planes
    (see `tfqkd.export.codes.find_planes`) becomes the float kernel that it is. Codes that an operator
    reads directly stay as they are.

    Args:
        content: A .tflite file. One without such codes comes back unchanged.
    """
    if not _has_narrow_codes(schema.Model.GetRootAs(content)):
        return content
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    for graph in model.subgraphs:
        _expand_graph(model, graph)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _has_narrow_codes(model: schema.Model) -> bool:
    return any(
        graph.Tensors(index).Type() in _BITS
        for graph in map(model.Subgraphs, range(model.SubgraphsLength()))
        for index in range(graph.TensorsLength())
    )


def _expand_graph(model: schema.ModelT, graph: schema.SubGraphT) -> None:
    made_by = {operator.outputs[0]: operator for operator in graph.operators}

    def reads(index: int, kind: int) -> list[int] | None:
        """Returns what the operator that makes a tensor reads, if it is of this kind."""
        operator = made_by.get(index)
        if operator is None or model.operatorCodes[operator.opcodeIndex].builtinCode != kind:
            return None
        return list(operator.inputs)

    dequantized = {}
    for index in made_by:
        constant = reads(index, _Operator.DEQUANTIZE)
        if constant is not None and graph.tensors[constant[0]].type in _BITS:
            dequantized[index] = graph.tensors[constant[0]]
    folded = set()
    for index in made_by:
        parts = reads(index, _Operator.ADD)
        if parts is None or not all(part in dequantized for part in parts):
            continue
        planes = [dequantized[part] for part in parts]
        value = sum(_scaled(model, plane) for plane in planes)
        _assign(model, graph.tensors[index], np.asarray(value, np.float32))
        folded |= {index, *parts}
    # The planes too, which nothing reads now: one type of code is enough for the runtime.
    for tensor in dequantized.values():
        if tensor.type in _BITS:
            model.buffers[tensor.buffer].data = _codes(model, tensor).view(np.uint8)
            tensor.type = _Type.INT8
    graph.operators = [
        operator for operator in graph.operators if operator.outputs[0] not in folded
    ]


def _codes(model: schema.ModelT, tensor: schema.TensorT) -> np.ndarray:
    data = np.asarray(model.buffers[tensor.buffer].data, np.uint8)
    return unpack(data, _BITS[tensor.type], int(np.prod(tensor.shape)))


def _scaled(model: schema.ModelT, tensor: schema.TensorT) -> np.ndarray:
    codes = _codes(model, tensor).reshape(tensor.shape)
    shape = [1] * codes.ndim
    shape[tensor.quantization.quantizedDimension] = -1
    return codes * np.asarray(tensor.quantization.scale, np.float32).reshape(shape)


def _assign(model: schema.ModelT, tensor: schema.TensorT, value: np.ndarray) -> None:
    tensor.type = _Type.FLOAT32
    tensor.buffer = len(model.buffers)
    model.buffers.append(schema.BufferT(data=value.reshape(-1).view(np.uint8)))
