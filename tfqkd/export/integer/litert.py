"""Writes an integer graph as a TFLite file that any interpreter runs."""

from collections.abc import Sequence

import numpy as np

from tfqkd.export.integer.graph import Graph, Kind, Operation
from tfqkd.export.integer.litert_image import LANES, add_image
from tfqkd.export.integer.litert_parts import PADDINGS, Parts, activation_of
from tfqkd.export.tflite import schema

_Operator = schema.BuiltinOperator


def to_model(
    graph: Graph,
    output: str,
    input_type: str,
    output_type: str,
    *,
    lanes: int = LANES,
) -> schema.ModelT:
    """Returns the file that computes a graph, as an object that can be changed.

    Args:
        graph: What to compute.
        output: The name of the output in the signature.
        input_type: "float32" or "uint8", for pixels 0 to 255, or "int8", for pixels less 128.
        output_type: "float32", or "int8" for the codes of the last tensor.
        lanes: How many channels pixels may have together that are standardized side by side.
    """
    parts = Parts()
    indices = [add_image(parts, graph, input_type, lanes)]
    indices += [parts.activation(codes) for codes in graph.tensors[1:]]
    for operation in graph.operations:
        _add(parts, graph, operation, indices)
    last = indices[-1]
    if output_type == "float32":
        last = parts.floats(output, graph.tensors[-1].shape)
        parts.add(_Operator.DEQUANTIZE, [indices[-1]], last)
    return parts.model(output, last)


def _add(parts: Parts, graph: Graph, operation: Operation, indices: Sequence[int]) -> None:
    """Adds an operation; `indices` are those of the graph's tensors in the file."""
    inputs = [indices[index] for index in operation.inputs]
    output = indices[operation.output]
    name, shape = operation.layer, graph.tensors[operation.output].shape
    if operation.kernel is not None:
        scale = graph.tensors[operation.inputs[0]].scale
        parts.convolution(operation, inputs[0], output, scale)
    elif operation.kind is Kind.ADDITION:
        added = schema.AddOptionsT(fusedActivationFunction=activation_of(operation))
        parts.add(_Operator.ADD, inputs, output, added)
    elif operation.kind is Kind.MEAN:
        axes = parts.constant(np.array([1, 2], np.int32), f"{name}/axes")
        options = schema.ReducerOptionsT(keepDims=len(shape) == 3)
        parts.add(_Operator.MEAN, [*inputs, axes], output, options)
    elif operation.kind is Kind.MAXIMUM:
        options = schema.Pool2DOptionsT(
            padding=PADDINGS[operation.padding],
            strideH=operation.strides[0],
            strideW=operation.strides[1],
            filterHeight=operation.window[0],
            filterWidth=operation.window[1],
        )
        parts.add(_Operator.MAX_POOL_2D, inputs, output, options)
    elif operation.kind is Kind.PADDING:
        margins = np.array([(0, 0), *operation.margins, (0, 0)], np.int32)
        constant = parts.constant(margins, f"{name}/margins")
        parts.add(_Operator.PAD, [*inputs, constant], output, schema.PadOptionsT())
    else:
        parts.reshape(name, inputs[0], output, shape)
