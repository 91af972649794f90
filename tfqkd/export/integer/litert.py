"""Writes an integer graph as a TFLite file that any interpreter runs."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfqkd.export.integer.graph import LOWEST, Codes, Graph, Kernel, Kind, Operation
from tfqkd.export.tflite import schema
from tfqkd.runtime.signature import INPUT, SIGNATURE

_Operator = schema.BuiltinOperator
_Type = schema.TensorType
_Activation = schema.ActivationFunctionType
_PADDINGS = {"same": schema.Padding.SAME, "valid": schema.Padding.VALID}
_SCHEMA_VERSION = 3
# The first versions that know int8, as TensorFlow's converter writes them.
_VERSIONS = {
    _Operator.CONV_2D: 3,
    _Operator.DEPTHWISE_CONV_2D: 3,
    _Operator.FULLY_CONNECTED: 4,
    _Operator.ADD: 2,
    _Operator.MEAN: 2,
    _Operator.MAX_POOL_2D: 2,
    _Operator.PAD: 2,
    _Operator.DEQUANTIZE: 2,
}
_IMAGE_FACTOR = 64
"""Of the codes that stand for the standardisation: its offset is a multiple of 1/64 of a pixel's worth."""


def to_model(graph: Graph, output: str, input_type: str, output_type: str) -> schema.ModelT:
    """Returns the file that computes a graph, as an object that can be changed.

    Args:
        graph: What to compute.
        output: The name of the output in the signature.
        input_type: "float32" or "uint8", for pixels 0 to 255, or "int8", for pixels less 128.
        output_type: "float32", or "int8" for the codes of the last tensor.
    """
    return _Writer(graph).model(output, input_type, output_type)


class _Writer:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._buffers = [schema.BufferT()]
        self._tensors: list[schema.TensorT] = []
        self._operators: list[schema.OperatorT] = []
        self._codes: list[tuple[int, int]] = []

    def model(self, output: str, input_type: str, output_type: str) -> schema.ModelT:
        """Returns the file."""
        first = self._image(input_type)
        indices = [first]
        for codes in self._graph.tensors[1:]:
            indices.append(self._activation(codes))
        for operation in self._graph.operations:
            self._operation(operation, indices)
        last = indices[-1]
        if output_type == "float32":
            codes = self._graph.tensors[-1]
            last = self._tensor(output, codes.shape, _Type.FLOAT32)
            self._add(_Operator.DEQUANTIZE, [indices[-1]], last)
        else:
            self._tensors[last].name = output.encode()
        subgraph = schema.SubGraphT(
            tensors=self._tensors,
            operators=self._operators,
            inputs=[0],
            outputs=[last],
            name=b"main",
        )
        signature = schema.SignatureDefT(
            inputs=[schema.TensorMapT(INPUT.encode(), 0)],
            outputs=[schema.TensorMapT(output.encode(), last)],
            signatureKey=SIGNATURE.encode(),
        )
        return schema.ModelT(
            version=_SCHEMA_VERSION,
            operatorCodes=[
                schema.OperatorCodeT(
                    builtinCode=kind, deprecatedBuiltinCode=min(kind, 127), version=version
                )
                for kind, version in self._codes
            ],
            subgraphs=[subgraph],
            buffers=self._buffers,
            signatureDefs=[signature],
        )

    def _image(self, input_type: str) -> int:
        """Adds the input and what makes the first codes of it; returns the index of these."""
        codes = self._graph.tensors[0]
        pixels = Codes(INPUT, codes.shape, np.float32(1), LOWEST)
        # Pixels that are codes already have the step of the codes, where no floats are rounded to pixels.
        is_codes = self._graph.image.is_pixel and (input_type != "float32" or codes.scale == 1)
        start = dataclasses.replace(codes, layer=INPUT) if is_codes else pixels
        if input_type == "int8":
            index = self._activation(start)
        else:
            index = (
                self._activation(start, _Type.UINT8)
                if input_type == "uint8"
                else self._tensor(INPUT, codes.shape, _Type.FLOAT32)
            )
            index = self._rounded(index, dataclasses.replace(start, layer=f"{INPUT}/int8"))
        return index if is_codes else self._standardized(index, codes)

    def _standardized(self, pixels: int, codes: Codes) -> int:
        """Adds a convolution of one pixel, which scales each channel and adds to it.

        A depthwise one would multiply less, and is slower on few channels.
        """
        channels = codes.shape[-1]
        gain = np.broadcast_to(self._graph.image.gain, channels)
        scales = (np.abs(gain) / _IMAGE_FACTOR).astype(np.float32)
        bias = np.rint(self._graph.image.offset / scales.astype(np.float64)).astype(np.int32)
        ones = np.diag(np.sign(gain)).astype(np.int8).reshape(channels, 1, 1, channels)
        kernel = Kernel(ones, _IMAGE_FACTOR, scales, bias, 0)
        index = self._activation(codes)
        operation = Operation(Kind.CONVOLUTION, codes.layer, (0,), 0, kernel)
        self._convolution(operation, pixels, index, np.float32(1))
        return index

    def _rounded(self, index: int, codes: Codes) -> int:
        made = self._activation(codes)
        self._add(_Operator.QUANTIZE, [index], made)
        return made

    def _operation(self, operation: Operation, indices: Sequence[int]) -> None:
        inputs = [indices[index] for index in operation.inputs]
        output = indices[operation.output]
        name = operation.layer
        if operation.kernel is not None:
            scale = self._graph.tensors[operation.inputs[0]].scale
            self._convolution(operation, inputs[0], output, scale)
        elif operation.kind is Kind.ADDITION:
            added = schema.AddOptionsT(fusedActivationFunction=_activation(operation))
            self._add(_Operator.ADD, inputs, output, added)
        elif operation.kind is Kind.MEAN:
            shape = self._graph.tensors[operation.output].shape
            axes = self._constant(np.array([1, 2], np.int32), f"{name}/axes")
            options = schema.ReducerOptionsT(keepDims=len(shape) == 3)
            self._add(_Operator.MEAN, [*inputs, axes], output, options)
        elif operation.kind is Kind.MAXIMUM:
            options = schema.Pool2DOptionsT(
                padding=_PADDINGS[operation.padding],
                strideH=operation.strides[0],
                strideW=operation.strides[1],
                filterHeight=operation.window[0],
                filterWidth=operation.window[1],
            )
            self._add(_Operator.MAX_POOL_2D, inputs, output, options)
        elif operation.kind is Kind.PADDING:
            margins = np.array([(0, 0), *operation.margins, (0, 0)], np.int32)
            constant = self._constant(margins, f"{name}/margins")
            self._add(_Operator.PAD, [*inputs, constant], output, schema.PadOptionsT())
        else:
            rows = [-1, *self._graph.tensors[operation.output].shape]
            constant = self._constant(np.array(rows, np.int32), f"{name}/shape")
            options = schema.ReshapeOptionsT(newShape=rows)
            self._add(_Operator.RESHAPE, [*inputs, constant], output, options)

    def _convolution(
        self, operation: Operation, pixels: int, output: int, scale: np.float32
    ) -> None:
        kernel = operation.kernel
        assert kernel is not None
        weights = self._constant(
            kernel.stored, f"{operation.layer}/kernel", _parameters(kernel.scales, axis=kernel.axis)
        )
        bias = self._constant(
            kernel.bias, f"{operation.layer}/bias", _parameters(kernel.scales * scale, axis=0)
        )
        multiplier = len(kernel.scales) // self._tensors[pixels].shape[-1]
        kind, options = _kernel_options(operation, multiplier)
        self._add(kind, [pixels, weights, bias], output, options)

    def _activation(self, codes: Codes, kind: int = _Type.INT8) -> int:
        zero_point = codes.zero_point - (LOWEST if kind == _Type.UINT8 else 0)
        index = self._tensor(codes.layer, codes.shape, kind)
        self._tensors[index].quantization = _parameters([codes.scale], zero_point)
        return index

    def _tensor(self, name: str, shape: Sequence[int], kind: int) -> int:
        self._tensors.append(
            schema.TensorT(
                name=name.encode(),
                shape=[1, *shape],
                shapeSignature=[-1, *shape],
                type=kind,
                hasRank=True,
            )
        )
        return len(self._tensors) - 1

    def _constant(self, value: np.ndarray, name: str, quantization: Any = None) -> int:
        self._buffers.append(
            schema.BufferT(data=np.ascontiguousarray(value).reshape(-1).view(np.uint8))
        )
        kinds = {"float32": _Type.FLOAT32, "int32": _Type.INT32, "int8": _Type.INT8}
        self._tensors.append(
            schema.TensorT(
                name=name.encode(),
                shape=list(value.shape),
                type=kinds[value.dtype.name],
                buffer=len(self._buffers) - 1,
                quantization=quantization,
                hasRank=True,
            )
        )
        return len(self._tensors) - 1

    def _add(self, kind: int, inputs: Sequence[int], output: int, options: Any = None) -> None:
        code = (kind, _VERSIONS.get(kind, 1))
        if code not in self._codes:
            self._codes.append(code)
        operator = schema.OperatorT(
            opcodeIndex=self._codes.index(code), inputs=list(inputs), outputs=[output]
        )
        if options is not None:
            name = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
            operator.builtinOptions = options
        self._operators.append(operator)


def _parameters(
    scales: Sequence[np.float32] | np.ndarray, zero_point: int = 0, axis: int = 0
) -> schema.QuantizationParametersT:
    return schema.QuantizationParametersT(
        scale=np.asarray(scales, np.float32),
        zeroPoint=np.full(len(scales), zero_point, np.int64),
        quantizedDimension=axis,
    )


def _activation(operation: Operation) -> int:
    if operation.ceiling is not None:
        return _Activation.RELU6
    return _Activation.RELU if operation.rectifies else _Activation.NONE


def _kernel_options(operation: Operation, multiplier: int) -> tuple[int, Any]:
    activation = _activation(operation)
    if operation.kind is Kind.DENSE:
        options = schema.FullyConnectedOptionsT(fusedActivationFunction=activation)
        return _Operator.FULLY_CONNECTED, options
    shared = {
        "padding": _PADDINGS[operation.padding],
        "strideH": operation.strides[0],
        "strideW": operation.strides[1],
        "dilationHFactor": operation.dilation[0],
        "dilationWFactor": operation.dilation[1],
        "fusedActivationFunction": activation,
    }
    if operation.kind is Kind.CONVOLUTION:
        return _Operator.CONV_2D, schema.Conv2DOptionsT(**shared)
    options = schema.DepthwiseConv2DOptionsT(depthMultiplier=multiplier, **shared)
    return _Operator.DEPTHWISE_CONV_2D, options
