"""Files of integer graphs: written, and compared with the graph when they are read back."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator

import numpy as np

from tfqkd.export import tflite
from tfqkd.export.codes import CodedKernel
from tfqkd.export.formats import Format
from tfqkd.export.integer.few_digits import with_few_digits
from tfqkd.export.integer.graph import Graph, Kernel, Kind
from tfqkd.export.integer.litert import to_model
from tfqkd.export.integer.packed import pack
from tfqkd.export.integer.reader import read_graph
from tfqkd.export.source import Source
from tfqkd.export.stored_kernels import StoredKernel, check_layers, wrong_kernel
from tfqkd.export.tflite_reading import read_back
from tfqkd.export.verification import ExportError
from tfqkd.export.writing import metadata
from tfqkd.runtime.packing import width_of
from tfqkd.runtime.signature import INPUT, METADATA
from tfqkd.runtime.widening import is_packed, widen

_STORED_BITS = 8
_SMALLEST = 2
# The axes of a kernel's codes in the order output channel, height, width, input channel.
_ORDERS = {Kind.CONVOLUTION: (0, 1, 2, 3), Kind.DEPTHWISE: (3, 1, 2, 0), Kind.DENSE: (0, 1)}


def write_tflite(source: Source, draft: pathlib.Path, form: Format) -> list[StoredKernel]:
    """Writes a model that `DeployScheme` has quantized as a TFLite file, and reads it back.

    Args:
        source: The model.
        draft: The file to write.
        form: A format of integers alone.

    Returns:
        What its kernels are.

    Raises:
        ExportError: If the model cannot be computed with integers alone, or the file is not what was
            written; it names the layer.
    """
    graph = graph_of(source, form)
    kernels = stored_kernels(graph, source)
    check_layers(kernels, source.quantized)
    _check_widths(graph, kernels, form)
    content = content_of(graph, source, form)
    draft.write_bytes(pack(content) if form.is_packed else content)
    _check_tensors(_read_back(draft), _model(graph, source, form))
    return kernels


def graph_of(source: Source, form: Format) -> Graph:
    """Returns the graph that a TFLite file of a format computes.

    That of 2 bits has scales and biases of few digits: its packed form is made to be small.
    """
    graph = integer_graph(source)
    return with_few_digits(graph) if form.weight_bits == _SMALLEST else graph


def write_onnx(source: Source, draft: pathlib.Path, form: Format) -> list[StoredKernel]:
    """Does as `write_tflite`, for an ONNX file."""
    import onnx

    from tfqkd.export import onnx_graph
    from tfqkd.export.integer.onnx import check, constant_bits, to_model

    graph, bits = integer_graph(source), form.kernel_bits or _STORED_BITS
    kernels = stored_kernels(graph, source, lambda kernel: constant_bits(kernel, bits))
    check_layers(kernels, source.quantized)
    _check_widths(graph, kernels, form)
    (name,) = source.kinds
    model = to_model(graph, name, bits, form.input_type, form.output_type)
    said = json.loads(metadata(source, form))
    if form.output_type != "float32":
        last = graph.tensors[-1]
        # A TFLite file has it beside the tensor.
        said |= {"output_scale": float(last.scale), "output_zero_point": last.zero_point}
    onnx.helper.set_model_props(model, {METADATA: json.dumps(said)})
    draft.write_bytes(onnx_graph.write(model))
    check(onnx_graph.read_back(draft), graph)
    return kernels


def integer_graph(source: Source) -> Graph:
    """Returns the integer graph of a model from images to one output.

    Raises:
        ExportError: If it cannot be computed with integers alone; it names the layer.
    """
    (tensor, *others) = source.signature.values()
    if list(source.signature) != [INPUT] or others or len(source.kinds) > 1 or tensor.shape[0]:
        raise ExportError(
            "Files of integers alone take images and have one output, for any number of examples. Received: "
            f"{list(source.signature)} -> {list(source.kinds)}, batch_size={tensor.shape[0]}. Nothing was "
            "written. Export to litert-int8-full."
        )
    return read_graph(source.model)


def content_of(graph: Graph, source: Source, form: Format) -> bytes:
    """Returns the TFLite file of a graph."""
    model = _model(graph, source, form)
    for tensor in model.subgraphs[0].tensors:
        # Nobody looks for a constant by its name, and all of them take bytes.
        if tensor.buffer:
            tensor.name = None
    # A packed file stands for the very file of the format that it packs.
    whole = dataclasses.replace(form, name=form.name.removesuffix("-packed"))
    tflite.add_metadata(model, METADATA, metadata(source, whole).encode())
    return tflite.write(model)


def _model(graph: Graph, source: Source, form: Format) -> tflite.schema.ModelT:
    (name,) = source.kinds
    return to_model(graph, name, form.input_type, form.output_type)


def _read_back(draft: pathlib.Path) -> tflite.schema.ModelT:
    """Reads a file that was written, widened if it is packed."""
    content = draft.read_bytes()
    if not is_packed(content):
        return read_back(draft)
    try:
        return tflite.read(widen(content))
    except ValueError as error:
        raise ExportError(f"A file must be whole when it is read back. {error}") from error


def stored_kernels(
    graph: Graph, source: Source, bits: Callable[[Kernel], int] = lambda kernel: _STORED_BITS
) -> list[StoredKernel]:
    """Returns the kernels of the model's layers, as codes that the model was trained with.

    Args:
        graph: Of the model.
        source: The model.
        bits: How many bits a code of a kernel takes in the file.
    """
    return list(_kernels(graph, set(source.owners.layers), bits))


def _kernels(
    graph: Graph, layers: set[str], bits: Callable[[Kernel], int]
) -> Iterator[StoredKernel]:
    for operation in graph.operations:
        kernel = operation.kernel
        if kernel is None or operation.layer not in layers:
            continue
        # The factor is a power of two: the product is the float32 scale of the trained codes.
        scales = kernel.scales * np.float32(kernel.factor)
        plane = CodedKernel(kernel.codes, scales, kernel.axis)
        order = _ORDERS[operation.kind]
        yield StoredKernel((operation.layer,), plane.values, order, (plane,), (bits(kernel),))


def _check_widths(graph: Graph, kernels: list[StoredKernel], form: Format) -> None:
    """Refuses a kernel of more bits than the format's, but in the first, the last and depthwise layers."""
    apart = {o.layer for o in graph.operations if o.kind is Kind.DEPTHWISE}
    for kernel in kernels[1:-1]:
        (codes,) = (plane.codes for plane in kernel.planes)
        bits = width_of(int(codes.min()), int(codes.max()))
        if bits > (form.weight_bits or 0) and kernel.layer not in apart:
            wider = form.name.replace(f"w{form.weight_bits}", f"w{bits}")
            raise ExportError(
                f"Weights in {form.name} take at most {form.weight_bits} bits, except in the first, the last "
                f"and depthwise layers. Received: layer '{kernel.layer}' with codes of {bits} bits. Nothing "
                f"was written. Export to {wider}."
            )


def _check_tensors(found: tflite.schema.ModelT, expected: tflite.schema.ModelT) -> None:
    """Compares every tensor of a file that was read back with what was meant."""
    (received,), (wanted,) = found.subgraphs, expected.subgraphs
    for one, other in zip(received.tensors, wanted.tensors, strict=False):
        layer = other.name.decode()
        if (one.type, list(one.shape)) != (other.type, list(other.shape)):
            raise wrong_kernel(layer, "another type or shape")
        if not np.array_equal(found.buffers[one.buffer].data, expected.buffers[other.buffer].data):
            raise wrong_kernel(layer, "other codes")
        for name in ("scale", "zeroPoint", "quantizedDimension"):
            received_value, value = (
                getattr(each.quantization, name, None) for each in (one, other)
            )
            if not np.array_equal(np.asarray(received_value), np.asarray(value)):
                raise wrong_kernel(layer, "other scales, zero points or channel axis")
    same = len(received.tensors) == len(wanted.tensors)
    if not same or _operators(received) != _operators(wanted):
        raise wrong_kernel("behind the last", "other operations")


def _operators(graph: tflite.schema.SubGraphT) -> list[tuple[list[int], list[int]]]:
    return [(list(each.inputs), list(each.outputs)) for each in graph.operators]
