"""Edits ONNX graphs: integer codes in place of float kernels."""

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper

from tfqkd.export.codes import CodedKernel, find_planes
from tfqkd.export.owners import Owners
from tfqkd.export.stored_kernels import Constant, FoundKernel, StoredKernel, as_rows
from tfqkd.export.verification import ExportError
from tfqkd.runtime.packing import pack

CODE_TYPES = {2: TensorProto.INT2, 4: TensorProto.INT4, 8: TensorProto.INT8}
"""The types of constants that hold codes of 2, 4 and 8 bits."""
_CODE_BITS: dict[int, int] = {int(type_): bits for bits, type_ in CODE_TYPES.items()}
# By operator: the first and the last axis of its kernel in the order output channel, the axes of space,
# input channel.
_ENDS = {
    "Conv": (0, 1),
    "ConvTranspose": (1, 0),
    "MatMul": (1, 0),
    "Gemm": (1, 0),
    "Gather": (1, 0),
}
_OF_MATRICES = ("MatMul", "Gemm", "Gather")
_KERNEL_INPUTS = {"Gather": 0}  # Of the others it is 1.
_DEQUANTIZE, _ADD, _RESHAPE = "DequantizeLinear", "Add", "Reshape"


def write(model: onnx.ModelProto) -> bytes:
    """Returns the content of the file that `model` describes."""
    return model.SerializeToString()


def read_back(file: pathlib.Path) -> onnx.ModelProto:
    """Reads a file that was written, and checks it against the rules of ONNX.

    Raises:
        ExportError: If it is not complete, or breaks a rule.
    """
    try:
        model = onnx.load_from_string(file.read_bytes())
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError) as error:
        raise ExportError(
            "A file must be complete and valid when it is read back. "
            f"Received: {file.stat().st_size} bytes, and {error}. Nothing was written. Make room "
            "on the disk, or choose another one."
        ) from error
    return model


def store_kernels(
    model: onnx.ModelProto, smallest_bits: int | None, owners: Owners
) -> list[StoredKernel]:
    """Stores every kernel that has codes as integers with a scale per channel.

    A DequantizeLinear gives the operators codes × scales, and an Add the sum of two planes.

    Args:
        model: The file; it is changed.
        smallest_bits: The fewest bits that a stored code takes: 2, 4 or 8; None leaves every kernel
            as it is.
        owners: The kernels of the Keras layers.

    Returns:
        Every kernel that was found, in the order of the operators that read them.
    """
    constants = {constant.name: constant for constant in model.graph.initializer}
    kernels, nodes = [], []
    for name, readers, _ in list(_constant_kernels(model.graph)):
        value = numpy_helper.to_array(constants[name])
        order = _order(readers[0], value.ndim)
        planes = () if smallest_bits is None else find_planes(value, order[0])
        bits = tuple(max(plane.bits, smallest_bits or 8) for plane in planes)
        if planes:
            model.graph.initializer.remove(constants[name])
            added = _stored(name, planes, bits, is_product=value.ndim == 2)
            model.graph.initializer.extend(added[0])
            nodes.extend(added[1])
        names = tuple(f"{node.name};{name}" for node in readers)
        layers = owners.find(names, as_rows(value, order).astype(np.float64))
        kernels.append(StoredKernel(layers, value, order, planes, bits))
    # Constants need nothing computed before them: the front of the list is always in order.
    behind = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *behind])
    return kernels


def found_kernels(model: onnx.ModelProto) -> list[FoundKernel]:
    """Returns a file's kernels, each once, in the order of the operators that read them."""
    return [FoundKernel(constants) for _, _, constants in _constant_kernels(model.graph)]


def _readers(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    """Returns, by the name of what they read as their kernel, the operators with one."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        if node.op_type in _ENDS:
            kernel = node.input[_KERNEL_INPUTS.get(node.op_type, 1)]
            readers.setdefault(kernel, []).append(node)
    return readers


def _order(node: onnx.NodeProto, axes: int) -> tuple[int, ...]:
    transposed = any(item.name == "transB" and item.i for item in node.attribute)
    first, last = (0, 1) if transposed else _ENDS[node.op_type]
    return (first, *range(2, axes), last)


def _stored(
    name: str, planes: Sequence[CodedKernel], widths: Sequence[int], is_product: bool
) -> tuple[list[TensorProto], list[onnx.NodeProto]]:
    """Returns the constants and operators that give a kernel.

    By default onnxruntime fuses a DequantizeLinear and the product that reads it into one that also
    rounds the activations to 8 bits: an error of about 1 %. A Reshape in between keeps them apart.
    """
    constants, nodes, parts = [], [], []
    for number, (plane, bits) in enumerate(zip(planes, widths, strict=True)):
        codes, scale, part = (f"{name}/{number}/{kind}" for kind in ("codes", "scale", "values"))
        shape = (1, *plane.codes.shape) if is_product else plane.codes.shape
        data = pack(plane.codes, bits).tobytes()
        constants += [
            helper.make_tensor(codes, CODE_TYPES[bits], shape, data, raw=True),
            numpy_helper.from_array(plane.scales.copy(), scale),
        ]
        axis = plane.axis + is_product
        nodes.append(helper.make_node(_DEQUANTIZE, [codes, scale], [part], axis=axis))
        parts.append(part)
    if len(parts) == 2:
        nodes.append(helper.make_node(_ADD, parts, [f"{name}/sum"]))
    if is_product:
        constants.append(
            numpy_helper.from_array(np.array(planes[0].codes.shape, np.int64), f"{name}/shape")
        )
        source = nodes[-1].output[0]
        nodes.append(helper.make_node(_RESHAPE, [source, f"{name}/shape"], [name]))
    else:
        nodes[-1].output[0] = name
    return constants, nodes


def _constant_kernels(
    graph: onnx.GraphProto,
) -> Iterator[tuple[str, list[onnx.NodeProto], tuple[Constant, ...]]]:
    """Yields the name of each kernel, the operators that read it, and the constants that it is the sum of."""
    constants = {constant.name: constant for constant in graph.initializer}
    made_by = {node.output[0]: node for node in graph.node}
    for name, nodes in _readers(graph).items():
        constant = constants.get(name)
        found = _floats(constant) if constant else _stored_codes(name, constants, made_by)
        # A stack of matrices, each for a part of what it multiplies, is no kernel of this kind.
        if found and (nodes[0].op_type not in _OF_MATRICES or len(found[0].shape) == 2):
            yield name, nodes, found


def _floats(constant: TensorProto) -> tuple[Constant, ...]:
    if constant.data_type != TensorProto.FLOAT:
        return ()
    value = numpy_helper.to_array(constant)
    return (Constant(np.frombuffer(value.tobytes(), np.uint8), value.shape),)


def _stored_codes(
    name: str, constants: Mapping[str, TensorProto], made_by: Mapping[str, onnx.NodeProto]
) -> tuple[Constant, ...]:
    """Returns the codes that a kernel is made of, as `_stored` writes them; none if it is not."""
    node = made_by.get(name)
    kind = None if node is None else node.op_type
    if node is None or kind not in (_DEQUANTIZE, _RESHAPE, _ADD):
        return ()
    if kind == _DEQUANTIZE:
        return (_codes(node, constants),)
    # The second input of a Reshape is a shape.
    sources = node.input[:1] if kind == _RESHAPE else node.input
    sums = [_stored_codes(part, constants, made_by) for part in sources]
    if not all(sums):
        return ()
    if kind == _ADD:
        return tuple(part for parts in sums for part in parts)
    # The codes of a product have an axis more, see _stored.
    return tuple(
        dataclasses.replace(part, shape=part.shape[1:], axis=(part.axis or 0) - 1)
        for part in sums[0]
    )


def _codes(node: onnx.NodeProto, constants: Mapping[str, TensorProto]) -> Constant:
    codes, scale, *zero_point = (constants[name] for name in node.input)
    (axis,) = (attribute.i for attribute in node.attribute if attribute.name == "axis")
    return Constant(
        np.frombuffer(codes.raw_data, np.uint8),
        tuple(codes.dims),
        _CODE_BITS[codes.data_type],
        numpy_helper.to_array(scale),
        axis,
        any(numpy_helper.to_array(zero).any() for zero in zero_point),
    )
