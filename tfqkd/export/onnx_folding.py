"""Computes what an ONNX graph makes of constants alone, so that kernels are constants."""

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

_MOVING = (
    "Concat",
    "Gather",
    "ReduceProd",
    "Reshape",
    "Shape",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
)
"""Operators that compute shapes, or move values: nothing is rounded."""


def fold_constants(model: onnx.ModelProto) -> None:
    """Puts constants in the place of operators that move constants, and removes those that nothing reads.

    tf2onnx writes the kernel of a general einsum twice, once for its shape alone, and reshapes the other.

    Args:
        model: The file; it is changed.
    """
    graph = model.graph
    constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    kept = []
    for node in graph.node:
        if node.op_type in _MOVING and all(name in constants for name in node.input):
            given = {name: constants[name] for name in node.input}
            (value,) = ReferenceEvaluator(node).run(None, given)
            constants[node.output[0]] = np.asarray(value)
            graph.initializer.append(
                numpy_helper.from_array(constants[node.output[0]], node.output[0])
            )
        else:
            kept.append(onnx.NodeProto.FromString(node.SerializeToString()))
    if len(kept) == len(graph.node):
        return
    read = {name for node in kept for name in _read(node)} | {out.name for out in graph.output}
    constants_left = [
        onnx.TensorProto.FromString(each.SerializeToString())
        for each in graph.initializer
        if each.name in read
    ]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(constants_left)


def _read(node: onnx.NodeProto) -> Iterator[str]:
    """What an operator reads, and the graphs inside it."""
    yield from node.input
    for attribute in node.attribute:
        for inner in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
            yield from (output.name for output in inner.output)
            for each in inner.node:
                yield from _read(each)
