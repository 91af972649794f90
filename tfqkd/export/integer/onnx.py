"""Writes an integer graph as an ONNX file: QuantizeLinear and DequantizeLinear, which runtimes fuse."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tfqkd.export.integer.graph import HIGHEST, LOWEST, Codes, Graph, Kernel, Kind, Operation
from tfqkd.export.integer.paddings import paddings
from tfqkd.export.stored_kernels import wrong_kernel
from tfqkd.runtime.packing import pack, unpack
from tfqkd.runtime.signature import INPUT

OPSET, IR_VERSION = 25, 13
"""The first with 2-bit codes; onnxruntime 1.24.4 and later load it."""
_TERNARY = 1
_TO_CHANNELS_FIRST, _TO_CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)
_HIGHEST = HIGHEST - LOWEST


def to_model(
    graph: Graph,
    output: str,
    bits: int,
    input_type: str = "float32",
    output_type: str = "float32",
) -> onnx.ModelProto:
    """Returns the file that computes a graph.

    Codes are uint8, those of the graph and 128: the type that x86 processors multiply fastest. Kernels of 8
    bits are uint8 too, for without VNNI these processors clip the sums of two products of uint8 and int8;
    those of ternary ones, of codes up to 64, fit.

    Args:
        graph: What to compute.
        output: The name of the output.
        bits: The width of the constants of ternary kernels: 8, or 2, which are widened when a runtime
            loads the file.
        input_type: "float32" or "uint8", for pixels 0 to 255, or "int8", for pixels less 128.
        output_type: "float32", or "int8" for the codes of the last tensor.
    """
    return _Writer(graph, bits).model(output, input_type, output_type)


def constant_bits(kernel: Kernel, bits: int) -> int:
    """Returns the width of a kernel's constant; see `to_model`."""
    return bits if _is_ternary(kernel) else 8


def _is_ternary(kernel: Kernel) -> bool:
    return int(np.abs(kernel.codes).max()) <= _TERNARY


def check(model: onnx.ModelProto, graph: Graph) -> None:
    """Compares the constants of a file that was read back with its graph.

    Raises:
        ExportError: If codes, scales or a bias are others; it names the layer.
    """
    constants = {constant.name: constant for constant in model.graph.initializer}
    for number, operation in enumerate(graph.operations):
        kernel, name = operation.kernel, f"t{number + 1}"
        if kernel is None:
            continue
        codes, scales, bias = (constants[f"{name}{part}"] for part in "wsb")
        if not np.array_equal(_stored(codes, kernel), _in_order(kernel.stored, operation.kind)):
            raise wrong_kernel(operation.layer, "other codes")
        found = numpy_helper.to_array(scales), numpy_helper.to_array(bias)
        if not all(map(np.array_equal, found, (kernel.scales, kernel.bias))):
            raise wrong_kernel(operation.layer, "other scales or biases")


def _stored(constant: TensorProto, kernel: Kernel) -> np.ndarray:
    """Returns the codes of a constant as a runtime multiplies them."""
    shape = tuple(constant.dims)
    data = np.frombuffer(constant.raw_data, np.uint8)
    if constant.data_type == TensorProto.INT2:
        return unpack(data, 2, int(np.prod(shape))).reshape(shape) * np.int8(kernel.factor)
    if constant.data_type == TensorProto.UINT8:
        return (data.astype(np.int16) + LOWEST).astype(np.int8).reshape(shape)
    return data.view(np.int8).reshape(shape)


class _Writer:
    def __init__(self, graph: Graph, bits: int) -> None:
        self._graph, self._bits = graph, bits
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, TensorProto] = {}

    def model(self, output: str, input_type: str, output_type: str) -> onnx.ModelProto:
        """Returns the file."""
        graph = self._graph
        names = [self._image(self._pixels(input_type))]
        for number, operation in enumerate(graph.operations):
            names.append(self._operation(operation, number, names))
        last = graph.tensors[-1]
        is_float = output_type == "float32"
        values = output if is_float else f"{output}f"
        self._add("DequantizeLinear", [names[-1], *self._parameters(last)], values)
        if not is_float:
            step, _ = self._parameters(last)
            zero = self._constant(f"z{last.zero_point}i", np.array(last.zero_point, np.int8))
            self._add("QuantizeLinear", [values, step, zero], output)
        body = helper.make_graph(
            self._nodes,
            "tfqkd",
            [_value(INPUT, graph.tensors[0].shape, input_type)],
            [_value(output, last.shape, output_type)],
            list(self._constants.values()),
        )
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(body, opset_imports=opsets, ir_version=IR_VERSION)

    def _pixels(self, input_type: str) -> str:
        """Adds what makes float32 pixels of the input; returns their name."""
        if input_type == "float32":
            return INPUT
        zero = np.array(LOWEST if input_type == "int8" else 0, input_type)
        parameters = [
            self._constant("s1", np.array(1, np.float32)),
            self._constant(f"z{input_type}", zero),
        ]
        return self._add("DequantizeLinear", [INPUT, *parameters], "pixels")

    def _image(self, pixels: str) -> str:
        """Adds what makes the first codes of pixels; returns their name."""
        codes, image = self._graph.tensors[0], self._graph.image
        gain, offset = (np.asarray(each, np.float32) for each in (image.gain, image.offset))
        scaled = self._add("Mul", [pixels, self._constant("gain", gain)], "scaled")
        shifted = self._add("Add", [scaled, self._constant("offset", offset)], "standardized")
        made = self._add("QuantizeLinear", [shifted, *self._parameters(codes)], "image")
        return self._add("Transpose", [made], "t0", perm=_TO_CHANNELS_FIRST)

    def _operation(self, operation: Operation, number: int, names: Sequence[str]) -> str:
        inputs = [names[index] for index in operation.inputs]
        target = self._graph.tensors[operation.output]
        name = f"t{number + 1}"
        if operation.kind is Kind.RESHAPE:
            return self._reshape(inputs[0], operation, name)
        if operation.kind is Kind.MAXIMUM:
            return self._pool(inputs[0], operation, name)
        if operation.kind is Kind.PADDING:
            (top, bottom), (left, right) = operation.margins
            margins = self._constant(f"{name}m", np.array([0, 0, top, left, 0, 0, bottom, right]))
            return self._add("Pad", [inputs[0], margins, self._parameters(target)[1]], name)
        sources = [self._graph.tensors[index] for index in operation.inputs]
        floats = [
            self._add("DequantizeLinear", [each, *self._parameters(source)], f"{name}i{index}")
            for index, (each, source) in enumerate(zip(inputs, sources, strict=True))
        ]
        if operation.kernel is not None:
            made = self._multiply(floats[0], operation, operation.kernel, name)
        elif operation.kind is Kind.ADDITION:
            made = self._add("Add", floats, f"{name}f")
        else:
            made = self._add("GlobalAveragePool", floats, f"{name}f")
        made = self._add("QuantizeLinear", [made, *self._parameters(target)], f"{name}q")
        made = self._clip(made, operation, target, name)
        if operation.kind is Kind.MEAN and len(target.shape) == 1:
            made = self._add("Flatten", [made], f"{name}v")
        self._nodes[-1].output[0] = name
        return name

    def _multiply(self, floats: str, operation: Operation, kernel: Kernel, name: str) -> str:
        """Adds a convolution or a dense layer."""
        source = self._graph.tensors[operation.inputs[0]]
        weights = self._weights(kernel, operation.kind, name)
        units = self._constant(f"{name}u", kernel.scales * source.scale)
        bias = self._constant(f"{name}b", kernel.bias)
        inputs = [floats, weights, self._add("DequantizeLinear", [bias, units], f"{name}c", axis=0)]
        if operation.kind is Kind.DENSE:
            return self._add("Gemm", inputs, f"{name}f", transB=1)
        size = kernel.codes.shape[1:3]
        before, after = paddings(source.shape[:2], size, operation)
        return self._add(
            "Conv",
            inputs,
            f"{name}f",
            strides=operation.strides,
            dilations=operation.dilation,
            pads=[*before, *after],
            group=source.shape[-1] if operation.kind is Kind.DEPTHWISE else 1,
        )

    def _weights(self, kernel: Kernel, kind: Kind, name: str) -> str:
        """Adds a kernel: codes in the order of ONNX, and what makes floats of them."""
        stored = _in_order(kernel.stored, kind)
        is_ternary, channels = _is_ternary(kernel), len(kernel.scales)
        if is_ternary and self._bits == 2:
            codes = self._widened(_in_order(kernel.codes, kind), kernel.factor, name)
        elif is_ternary:
            codes = self._constant(f"{name}w", stored)
        else:
            codes = self._constant(f"{name}w", (stored.astype(np.int16) - LOWEST).astype(np.uint8))
        zeros = np.zeros(channels, np.int8) if is_ternary else np.full(channels, -LOWEST, np.uint8)
        # Without zero points dense layers are not fused.
        parameters = [
            self._constant(f"{name}s", kernel.scales),
            self._constant(f"z{channels}{'i' if is_ternary else 'u'}", zeros),
        ]
        return self._add("DequantizeLinear", [codes, *parameters], f"{name}k", axis=0)

    def _widened(self, codes: np.ndarray, factor: int, name: str) -> str:
        """Adds 2-bit codes and a table of what they stand for, which onnxruntime looks up as it loads."""
        content = pack(codes, 2).tobytes()
        packed = helper.make_tensor(f"{name}w", TensorProto.INT2, codes.shape, content, raw=True)
        self._constants[packed.name] = packed
        # By the codes 0, 1, -2 and -1: a negative index counts from the end.
        table = self._constant(f"x{factor}", np.array([0, factor, 0, -factor], np.int8))
        indices = self._add("Cast", [packed.name], f"{name}n", to=TensorProto.INT32)
        return self._add("Gather", [table, indices], f"{name}g")

    def _clip(self, codes: str, operation: Operation, target: Codes, name: str) -> str:
        """Adds a ReLU or ReLU6 where codes do not end there by themselves."""
        zero = target.zero_point - LOWEST
        low, high = (zero if operation.rectifies else 0), _HIGHEST
        if operation.ceiling is not None:
            high = min(high, int(np.rint(operation.ceiling / np.float64(target.scale))) + zero)
        if (low, high) == (0, _HIGHEST):
            return codes
        ends = [self._constant(f"e{each}", np.array(each, np.uint8)) for each in (low, high)]
        return self._add("Clip", [codes, *ends], f"{name}r")

    def _pool(self, codes: str, operation: Operation, name: str) -> str:
        source = self._graph.tensors[operation.inputs[0]]
        before, after = paddings(source.shape[:2], operation.window, operation)
        return self._add(
            "MaxPool",
            [codes],
            name,
            kernel_shape=operation.window,
            strides=operation.strides,
            pads=[*before, *after],
        )

    def _reshape(self, codes: str, operation: Operation, name: str) -> str:
        """Adds a reshape, which goes by the order of Keras: channels last."""
        source, target = (
            self._graph.tensors[index].shape for index in (operation.inputs[0], operation.output)
        )
        if len(source) == 3:
            codes = self._add("Transpose", [codes], f"{name}l", perm=_TO_CHANNELS_LAST)
        shape = self._constant(f"{name}h", np.array([-1, *target]))
        codes = self._add("Reshape", [codes, shape], f"{name}o")
        if len(target) == 3:
            codes = self._add("Transpose", [codes], f"{name}p", perm=_TO_CHANNELS_FIRST)
        self._nodes[-1].output[0] = name
        return name

    def _parameters(self, codes: Codes) -> list[str]:
        """Returns the names of a tensor's step and zero point, which tensors with equal ones share."""
        zero = codes.zero_point - LOWEST
        return [
            self._constant(f"s{float(codes.scale):.9g}", np.array(codes.scale, np.float32)),
            self._constant(f"z{zero}", np.array(zero, np.uint8)),
        ]

    def _constant(self, name: str, value: np.ndarray) -> str:
        self._constants[name] = numpy_helper.from_array(value, name)
        return name

    def _add(self, kind: str, inputs: Sequence[str], output: str, **settings: Any) -> str:
        self._nodes.append(helper.make_node(kind, inputs, [output], **settings))
        return output


def _in_order(codes: np.ndarray, kind: Kind) -> np.ndarray:
    """Returns codes with the axes that ONNX wants: output channel, input channel, height, width."""
    orders = {Kind.CONVOLUTION: (0, 3, 1, 2), Kind.DEPTHWISE: (3, 0, 1, 2), Kind.DENSE: (0, 1)}
    return np.ascontiguousarray(codes.transpose(orders[kind]))


def _value(name: str, shape: Sequence[int], kind: str) -> onnx.ValueInfoProto:
    number = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    return helper.make_tensor_value_info(name, number, ["N", *shape])
