"""A TFLite file of integers while it is written: its tensors, constants and operators."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfqkd.export.integer.graph import LOWEST, Codes, Kind, Operation
from tfqkd.export.tflite import schema
from tfqkd.runtime.signature import INPUT, SIGNATURE

_Operator = schema.BuiltinOperator
_Type = schema.TensorType
_Activation = schema.ActivationFunctionType
PADDINGS = {"same": schema.Padding.SAME, "valid": schema.Padding.VALID}
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


class Parts:
    """What a file is made of; each part is known by its index. The first tensor is the input."""

    def __init__(self) -> None:
        self._buffers = [schema.BufferT()]
        self._tensors: list[schema.TensorT] = []
        self._operators: list[schema.OperatorT] = []
        self._codes: list[tuple[int, int]] = []

    def model(self, output: str, last: int) -> schema.ModelT:
        """Returns the file.

        Args:
            output: The name of its output.
            last: The tensor that is it.
        """
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

    def activation(self, codes: Codes, kind: int = _Type.INT8) -> int:
        """Adds a tensor of codes: int8, or as many above 0 as uint8."""
        zero_point = codes.zero_point - (LOWEST if kind == _Type.UINT8 else 0)
        return self._tensor(codes.layer, codes.shape, kind, _parameters([codes.scale], zero_point))

    def floats(self, name: str, shape: Sequence[int]) -> int:
        """Adds a tensor of float32."""
        return self._tensor(name, shape, _Type.FLOAT32)

    def constant(self, value: np.ndarray, name: str, quantization: Any = None) -> int:
        """Adds a tensor of known values."""
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

    def add(self, kind: int, inputs: Sequence[int], output: int, options: Any = None) -> None:
        """Adds an operator, with the options of its kind."""
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

    def reshape(self, name: str, source: int, output: int, shape: Sequence[int]) -> None:
        """Adds an operator that gives what it reads another shape, which leaves out the batch."""
        rows = [-1, *shape]
        constant = self.constant(np.array(rows, np.int32), f"{name}/shape")
        self.add(
            _Operator.RESHAPE, [source, constant], output, schema.ReshapeOptionsT(newShape=rows)
        )

    def convolution(
        self, operation: Operation, source: int, output: int, scale: np.float32
    ) -> None:
        """Adds the operator of a convolution or dense layer, with its kernel and bias.

        Args:
            operation: What it computes.
            source: What it reads.
            output: What it makes.
            scale: Of the codes that it reads.
        """
        kernel = operation.kernel
        assert kernel is not None
        weights = self.constant(
            kernel.stored, f"{operation.layer}/kernel", _parameters(kernel.scales, axis=kernel.axis)
        )
        bias = self.constant(
            kernel.bias, f"{operation.layer}/bias", _parameters(kernel.scales * scale, axis=0)
        )
        multiplier = len(kernel.scales) // self._tensors[source].shape[-1]
        kind, options = _kernel_options(operation, multiplier)
        self.add(kind, [source, weights, bias], output, options)

    def _tensor(self, name: str, shape: Sequence[int], kind: int, quantization: Any = None) -> int:
        self._tensors.append(
            schema.TensorT(
                name=name.encode(),
                shape=[1, *shape],
                shapeSignature=[-1, *shape],
                type=kind,
                quantization=quantization,
                hasRank=True,
            )
        )
        return len(self._tensors) - 1


def activation_of(operation: Operation) -> int:
    """Returns the function that clips what an operation makes."""
    if operation.ceiling is not None:
        return _Activation.RELU6
    return _Activation.RELU if operation.rectifies else _Activation.NONE


def _parameters(
    scales: Sequence[np.float32] | np.ndarray, zero_point: int = 0, axis: int = 0
) -> schema.QuantizationParametersT:
    return schema.QuantizationParametersT(
        scale=np.asarray(scales, np.float32),
        zeroPoint=np.full(len(scales), zero_point, np.int64),
        quantizedDimension=axis,
    )


def _kernel_options(operation: Operation, multiplier: int) -> tuple[int, Any]:
    activation = activation_of(operation)
    if operation.kind is Kind.DENSE:
        options = schema.FullyConnectedOptionsT(fusedActivationFunction=activation)
        return _Operator.FULLY_CONNECTED, options
    shared = {
        "padding": PADDINGS[operation.padding],
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
