"""The file of an integer graph for TensorFlow Lite Micro: kernels of few codes as look-up tables."""

import contextlib
import io
import warnings
from collections.abc import Iterator

import numpy as np

from tfqkd.export import tflite
from tfqkd.export.integer.graph import Graph, Kernel
from tfqkd.export.integer.litert import to_model
from tfqkd.export.stored_kernels import wrong_kernel
from tfqkd.export.tflite import schema

_Operator = schema.BuiltinOperator
_CONVOLUTIONS = (_Operator.CONV_2D, _Operator.DEPTHWISE_CONV_2D)
_MOST_BITS = 4
_HEADER_BYTES = 16
"""Before the tables of a kernel: which version, how many bits, how long a table is."""
_BITS_AT, _LENGTH_AT = 5, 6
DECODE = b"TFLM_DECODE"
"""The operator that widens a kernel on the device."""


def whole(graph: Graph) -> bytes:
    """Returns the file that takes pixels less 128 and returns codes, with all kernels as int8.

    It has what TFLM reads and nothing else: no names, one zero point a tensor, and for the biases of
    convolutions, which are sums of products, no scales of their own. Pixels are standardized one by one: no
    copies of the image in the arena.
    """
    model = to_model(graph, "", "int8", "int8", lanes=1)
    model.signatureDefs = None
    (subgraph,) = model.subgraphs
    subgraph.name = None
    for tensor in subgraph.tensors:
        tensor.name = tensor.shapeSignature = None
        if tensor.quantization is not None:
            tensor.quantization.zeroPoint = tensor.quantization.zeroPoint[:1]
    for operator in subgraph.operators:
        if model.operatorCodes[operator.opcodeIndex].builtinCode in _CONVOLUTIONS:
            subgraph.tensors[operator.inputs[2]].quantization = None
    return tflite.write(model)


def index_bits(kernel: Kernel) -> int:
    """Returns how many bits a code of a kernel takes in a file for TFLM: 8 where tables save nothing.

    A table holds the different codes of an output channel, which must be the first axis: one table for a
    whole kernel is read as garbage, since TFLM goes to another one with each scale.
    """
    if kernel.axis != 0:
        return 8
    length = _table_length(kernel.codes)
    bits = max(1, (length - 1).bit_length())
    packed = _HEADER_BYTES + length * len(kernel.codes) + kernel.codes.size * bits // 8
    return bits if bits <= _MOST_BITS and 2 * packed < kernel.codes.size else 8


def compressed(graph: Graph, content: bytes) -> bytes:
    """Returns what TFLM's own compression makes of the file that `whole` returned."""
    from tflite_micro import compression
    from tflite_micro.tensorflow.lite.micro.compression import spec

    builder, any_tables = compression.SpecBuilder(), False
    for index, kernel in _kernel_indices(tflite.read(content), graph):
        bits = index_bits(kernel)
        if bits < 8:
            tensor = builder.add_tensor(subgraph=0, tensor=index)
            builder = tensor.with_lut(index_bitwidth=bits, mode=spec.PerChannel(axis=0))
            any_tables = True
    if not any_tables:
        return content
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        return bytes(compression.compress(content, builder.build()))


def check(content: bytes, graph: Graph) -> None:
    """Compares the kernels of a file that was read back with those of its graph.

    Raises:
        ExportError: If codes, scales or a bias are others; it names the layer.
    """
    model = tflite.read(content)
    found = list(_found(model))[-len(_kernels(graph)) :]
    for (codes, scales, bias), (layer, kernel) in zip(found, _kernels(graph), strict=True):
        if not np.array_equal(codes, kernel.stored) or not np.array_equal(bias, kernel.bias):
            raise wrong_kernel(layer, "other codes")
        if not np.array_equal(scales, kernel.scales):
            raise wrong_kernel(layer, "other scales")


def operators(content: bytes) -> list[str]:
    """Returns the names of the operators that a file needs, as the schema has them."""
    names = {value: name for name, value in vars(_Operator).items() if isinstance(value, int)}
    codes = tflite.read(content).operatorCodes
    return ["DECODE" if each.customCode else names[each.builtinCode] for each in codes]


def _kernels(graph: Graph) -> list[tuple[str, Kernel]]:
    return [(each.layer, each.kernel) for each in graph.operations if each.kernel is not None]


def _kernel_indices(model: schema.ModelT, graph: Graph) -> Iterator[tuple[int, Kernel]]:
    """Yields the indices of the tensors that hold the kernels of a graph."""
    indices = [int(operator.inputs[1]) for operator in _with_kernel(model)]
    # A convolution that standardizes pixels comes before them.
    kernels = [kernel for _, kernel in _kernels(graph)]
    yield from zip(indices[-len(kernels) :], kernels, strict=True)


def _with_kernel(model: schema.ModelT) -> list[schema.OperatorT]:
    return [
        operator
        for operator in model.subgraphs[0].operators
        if model.operatorCodes[operator.opcodeIndex].builtinCode
        in (*_CONVOLUTIONS, _Operator.FULLY_CONNECTED)
    ]


def _found(model: schema.ModelT) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yields codes, scales and biases of a file, widened as TFLM does it."""
    tensors = model.subgraphs[0].tensors

    def data(index: int) -> np.ndarray:
        return np.asarray(model.buffers[tensors[index].buffer].data, np.uint8)

    encoded = {
        int(output): (data(operator.inputs[2 * number]), data(operator.inputs[2 * number + 1]))
        for operator in model.subgraphs[0].operators
        if model.operatorCodes[operator.opcodeIndex].customCode == DECODE
        for number, output in enumerate(operator.outputs)
    }
    for operator in _with_kernel(model):
        index = int(operator.inputs[1])
        shape = tuple(tensors[index].shape)
        if index in encoded:
            codes = _decoded(*encoded[index], shape)
        else:
            codes = data(index).view(np.int8).reshape(shape)
        bias = np.frombuffer(data(operator.inputs[2]).tobytes(), "<i4")
        yield codes, np.asarray(tensors[index].quantization.scale, np.float32), bias


def _decoded(indices: np.ndarray, tables: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    bits, length = int(tables[_BITS_AT]) & 7, int(tables[_LENGTH_AT])
    count = int(np.prod(shape))
    ones = np.unpackbits(indices)[: count * bits].reshape(count, bits)
    positions = (ones @ (1 << np.arange(bits)[::-1])).reshape(shape[0], -1)
    table = tables[_HEADER_BYTES:].view(np.int8).reshape(shape[0], length)
    return np.take_along_axis(table, positions, axis=1).reshape(shape)


def _table_length(codes: np.ndarray) -> int:
    """Returns the most different codes that an output channel has."""
    return max(len(np.unique(channel)) for channel in codes)
