"""Cleans the graphs that tf2onnx writes: names and an order that depend on the model alone."""

import collections
import re
from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_COUNTER = re.compile(r"__\d+|einsum\d+")  # In the names that tf2onnx makes.
_ANY = "N"  # What the size of a batch is called.


def unknown_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yields nodes that are no ONNX operators, also in the branches and bodies of others."""
    for node in graph.node:
        if not onnx.defs.has(node.op_type, node.domain):
            yield node
        for inner in _inner_graphs(node):
            yield from unknown_nodes(inner)


def replace_erfc(model: onnx.ModelProto) -> None:
    """Gives GELU what ONNX has for TensorFlow's Erfc: erfc(x) = 1 − erf(x)."""
    nodes = []
    for node in model.graph.node:
        nodes.append(node)
        if node.op_type == "Erfc":
            one, erf, result = (f"{node.name}/{part}" for part in ("one", "erf", "result"))
            model.graph.initializer.append(numpy_helper.from_array(np.array(1, np.float32), one))
            nodes.append(helper.make_node("Sub", [one, erf], list(node.output), name=result))
            node.op_type, node.output[:] = "Erf", [erf]
    # Emptying the list destroys what is in it.
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def settle(model: onnx.ModelProto) -> None:
    """Puts operators and constants in an order, and gives them numbers, that depend on the graph alone.

    tf2onnx goes by hash values, addresses and a counter of the process.
    """
    graph = model.graph
    nodes = _ordered(graph)
    read = [name for node in nodes for name in node.input]
    constants = {constant.name: constant.SerializeToString() for constant in graph.initializer}
    kept = [constants[name] for name in dict.fromkeys(read) if name in constants]
    # What only branches and bodies read.
    kept += [constants[name] for name in sorted(set(constants) - set(read))]
    del graph.initializer[:]
    graph.initializer.extend(TensorProto.FromString(content) for content in kept)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    rename(model, _settled_names(graph))
    for number, node in enumerate(graph.node):
        if _COUNTER.search(node.name):
            node.name = f"{node.op_type}_{number}"
    for value in (*graph.input, *graph.output):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.HasField("dim_param"):
                dimension.dim_param = _ANY


def _settled_names(graph: onnx.GraphProto) -> dict[str, str]:
    """Returns other names for all that has one by chance: of equal constants tf2onnx keeps any."""
    names: dict[str, str] = {}
    readers = collections.Counter(name for node in graph.node for name in set(node.input))
    for number, constant in enumerate(graph.initializer):
        by_chance = readers[constant.name] != 1 or len(constant.dims) < 2
        if by_chance or _COUNTER.search(constant.name):
            names[constant.name] = f"constant_{number}"
    for number, node in enumerate(graph.node):
        for index, name in enumerate(node.output):
            if _COUNTER.search(name):
                names[name] = f"{node.op_type}_{number}:{index}"
    return names


def _ordered(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Returns the operators as they are met from the outputs on, each after those that it reads from."""
    made_by = {name: node for node in graph.node for name in node.output}
    done: dict[int, onnx.NodeProto] = {}
    waiting = [made_by[value.name] for value in graph.output]
    while waiting:
        node = waiting[-1]
        inner = [name for part in _inner_graphs(node) for name in _outer_names(part)]
        before = [made_by[name] for name in (*node.input, *inner) if name in made_by]
        missing = [other for other in before if id(other) not in done]
        if missing:
            waiting.append(missing[0])
        else:
            waiting.pop()
            done.setdefault(id(node), node)
    return list(done.values())


def _outer_names(graph: onnx.GraphProto) -> list[str]:
    """Returns all that operators in a graph read, also in the graphs inside it."""
    own = [name for node in graph.node for name in node.input]
    inner = [part for node in graph.node for part in _inner_graphs(node)]
    outputs = [value.name for value in graph.output]
    return own + outputs + [name for part in inner for name in _outer_names(part)]


def _inner_graphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    graphs = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    return graphs + [inner for attribute in node.attribute for inner in attribute.graphs]


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


def rename(model: onnx.ModelProto, names: Mapping[str, str]) -> None:
    """Gives values other names: inputs, outputs, constants and what operators compute."""
    _rename(model.graph, names)


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        # The branches of an If, and the body of a Loop, read what is outside of them.
        for inner in _inner_graphs(node):
            _rename(inner, names)
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = names.get(value.name, value.name)
    # Nothing needs the shapes in between: the runtime infers them.
    del graph.value_info[:]
