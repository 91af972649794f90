"""Edits ONNX graphs: integer codes in place of float kernels, and names."""

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper

from tfqkd.export.grid import Grid, find_planes
from tfqkd.export.kernels import Constant, FoundKernel, StoredKernel, owner
from tfqkd.export.verification import ExportError
from tfqkd.runtime.packing import pack
from tfqkd.runtime.signature import OUTPUT

CODE_TYPES = {2: TensorProto.INT2, 4: TensorProto.INT4, 8: TensorProto.INT8}
"""The types of constants that hold codes of 2, 4 and 8 bits."""
_CODE_BITS: dict[int, int] = {int(type_): bits for bits, type_ in CODE_TYPES.items()}
# By operator: its kernel's axes in the order output channel, height, width, input channel.
_ORDERS = {"Conv": (0, 2, 3, 1), "ConvTranspose": (1, 2, 3, 0), "MatMul": (1, 0), "Gemm": (1, 0)}
_KERNEL_INPUT = 1  # Of each of these operators.
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
    model: onnx.ModelProto, smallest_bits: int | None, layers: Sequence[str]
) -> list[StoredKernel]:
    """Stores every kernel that lies on a grid as integer codes with a scale per channel.

    A DequantizeLinear gives the operators codes × scales, and an Add the sum of two planes.

    Args:
        model: The file; it is changed.
        smallest_bits: The fewest bits that a stored code takes: 2, 4 or 8; None leaves every kernel
            as it is.
        layers: The names of the Keras layers with a kernel.

    Returns:
        Every kernel that was found, in the order of the operators that read them.
    """
    constants = {constant.name: constant for constant in model.graph.initializer}
    kernels, nodes = [], []
    for name, readers in _readers(model.graph).items():
        if name not in constants or constants[name].data_type != TensorProto.FLOAT:
            continue
        value = numpy_helper.to_array(constants[name])
        order = _order(readers[0])
        if value.ndim != len(order):
            continue
        planes = () if smallest_bits is None else find_planes(value, order[0])
        bits = tuple(max(plane.bits, smallest_bits or 8) for plane in planes)
        if planes:
            model.graph.initializer.remove(constants[name])
            added = _stored(name, planes, bits, is_product=value.ndim == 2)
            model.graph.initializer.extend(added[0])
            nodes.extend(added[1])
        owners = tuple(owner(f"{node.name};{name}", layers) for node in readers)
        kernels.append(StoredKernel(owners, value, order, planes, bits))
    # Constants need nothing computed before them: the front of the list is always in order.
    behind = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *behind])
    return kernels


def found_kernels(model: onnx.ModelProto) -> list[FoundKernel]:
    """Returns a file's kernels, each once, in the order of the operators that read them."""
    return [FoundKernel(constants) for _, constants in _constant_kernels(model.graph)]


def cut_after(content: bytes, number: int) -> bytes:
    """Returns a file that ends in the output of the operator with kernel `number`.

    Kernels are numbered as `store_kernels` lists them. The output is called logits, whatever it is.
    """
    model = onnx.load_from_string(content)
    (last, *_), _ = list(_constant_kernels(model.graph))[number]
    nodes = list(model.graph.node)
    nodes = nodes[: nodes.index(last) + 1]
    del model.graph.node[:], model.graph.output[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)
    model.graph.output.append(
        helper.make_tensor_value_info(last.output[0], TensorProto.FLOAT, None)
    )
    rename(model, {last.output[0]: OUTPUT})
    return write(model)


def rename(model: onnx.ModelProto, names: Mapping[str, str]) -> None:
    """Gives values other names: inputs, outputs, constants and what operators compute."""
    graph = model.graph
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = names.get(value.name, value.name)
    # Nothing needs the shapes in between: the runtime infers them.
    del graph.value_info[:]


def shorten_names(model: onnx.ModelProto) -> None:
    """Gives all values but the inputs and outputs numbers for names, and operators none."""
    graph = model.graph
    outer = {value.name for value in (*graph.input, *graph.output)}
    inner = [constant.name for constant in graph.initializer]
    inner += [name for node in graph.node for name in node.output]
    numbers = enumerate(dict.fromkeys(name for name in inner if name not in outer))
    rename(model, {name: str(number) for number, name in numbers})
    for node in graph.node:
        node.name = node.doc_string = ""


def _readers(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    """Returns, by the name of what they read as their kernel, the operators with one."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        if node.op_type in _ORDERS:
            readers.setdefault(node.input[_KERNEL_INPUT], []).append(node)
    return readers


def _order(node: onnx.NodeProto) -> tuple[int, ...]:
    transposed = any(item.name == "transB" and item.i for item in node.attribute)
    return (0, 1) if transposed else _ORDERS[node.op_type]


def _stored(
    name: str, planes: Sequence[Grid], widths: Sequence[int], is_product: bool
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
) -> Iterator[tuple[list[onnx.NodeProto], tuple[Constant, ...]]]:
    """Yields the operators that read a kernel, and the constants that it is the sum of."""
    constants = {constant.name: constant for constant in graph.initializer}
    made_by = {node.output[0]: node for node in graph.node}
    for name, nodes in _readers(graph).items():
        found = _constants(name, constants, made_by)
        if found is not None:
            yield nodes, found


def _constants(
    name: str, constants: Mapping[str, TensorProto], made_by: Mapping[str, onnx.NodeProto]
) -> tuple[Constant, ...] | None:
    """Returns what a kernel is the sum of, or None if it is not made of constants."""
    if name in constants:
        value = numpy_helper.to_array(constants[name])
        return (Constant(np.frombuffer(value.tobytes(), np.uint8), value.shape),)
    node = made_by.get(name)
    if node is None:
        return None
    if node.op_type == _DEQUANTIZE:
        return (_codes(node, constants),)
    if node.op_type == _RESHAPE:
        parts = _constants(node.input[0], constants, made_by)
        # The codes of a product have an axis more, see _stored.
        return parts and tuple(
            dataclasses.replace(part, shape=part.shape[1:], axis=(part.axis or 0) - 1)
            for part in parts
        )
    if node.op_type == _ADD:
        sums = [_constants(part, constants, made_by) for part in node.input]
        return None if None in sums else tuple(part for parts in sums for part in parts or ())
    return None


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
