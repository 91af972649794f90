"""ONNX files."""

import pathlib

from tfqkd.export.formats import Format
from tfqkd.export.report import Report
from tfqkd.export.source import Source
from tfqkd.export.stored_kernels import StoredKernel, check_kernels, check_layers
from tfqkd.export.verification import ExportError
from tfqkd.export.writing import metadata, require_file, write_verified
from tfqkd.runtime.signature import METADATA

_RUNTIME = "onnxruntime"
_RUNNER = ("-m", "tfqkd.runtime.predict")
_DIRECT_RUNNER = (*_RUNNER, "--direct")
_CONVERTER_OPSET = 18  # The newest that tf2onnx writes.
_OPSET, _IR_VERSION = 25, 13  # The first with 2-bit codes; onnxruntime 1.24.4 and later load it.


def write_onnx(source: Source, path: pathlib.Path, form: Format) -> Report:
    """Writes and verifies a prepared model; see `tfqkd.export.to_onnx`."""
    require_file(path, form)
    return write_verified(
        source,
        path,
        form,
        write=lambda draft: _write(source, draft, form),
        runners=[_DIRECT_RUNNER, _RUNNER] if form.has_narrow_codes else [_RUNNER],
    )


def _write(source: Source, draft: pathlib.Path, form: Format) -> list[StoredKernel]:
    # They need onnx, which is optional.
    import onnx

    from tfqkd.export import onnx_cleaning, onnx_graph
    from tfqkd.export.integer.files import write_onnx as write_integers

    if form.is_integer:
        return write_integers(source, draft, form)
    model = onnx.load_from_string(source.converted(_RUNTIME, _convert))
    kernels = onnx_graph.store_kernels(model, form.kernel_bits, source.owners)
    if form.kernel_bits is not None:
        check_layers(kernels, source.quantized)
    if form.drops_names:
        onnx_cleaning.shorten_names(model)
    onnx.helper.set_model_props(model, {METADATA: metadata(source, form)})
    draft.write_bytes(onnx_graph.write(model))
    check_kernels(onnx_graph.found_kernels(onnx_graph.read_back(draft)), kernels)
    return kernels


def _convert(source: Source) -> bytes:
    import onnx
    import tf2onnx
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    from tfqkd.export import onnx_cleaning, onnx_graph
    from tfqkd.export.onnx_folding import fold_constants

    # from_function would make inputs of the constants that the function has captured.
    frozen = convert_variables_to_constants_v2(
        source.module().serve.get_concrete_function(),
        lower_control_flow=False,
        aggressive_inlining=True,
    )
    model, _ = tf2onnx.convert.from_graph_def(
        frozen.graph.as_graph_def(),
        input_names=[tensor.name for tensor in frozen.inputs],
        output_names=[tensor.name for tensor in frozen.outputs],
        opset=_CONVERTER_OPSET,
    )
    onnx_cleaning.replace_erfc(model)
    for node in onnx_cleaning.unknown_nodes(model.graph):
        raise _no_operator(source, node.op_type, node.name)
    model = onnx.version_converter.convert_version(model, _OPSET)
    model.ir_version = _IR_VERSION
    fold_constants(model)
    # TensorFlow flattens what a function returns by the order of the names.
    names = [*source.signature, *sorted(source.kinds)]
    tensors = [*frozen.inputs, *frozen.outputs]
    onnx_cleaning.rename(model, {t.name: name for t, name in zip(tensors, names, strict=True)})
    onnx_cleaning.settle(model)
    return onnx_graph.write(model)


def _no_operator(source: Source, operation: str, name: str) -> ExportError:
    """Returns the error of an operation, of this name in the model, that has no ONNX operator."""
    layer = source.owners.named(name) or name
    grouped = getattr(source.layer(layer), "groups", 1) > 1
    return ExportError(
        "An ONNX file needs an ONNX operator for every operation. Received: layer "
        f"'{layer}' with {operation}, which tf2onnx cannot convert"
        f"{'; grouped convolutions are such' if grouped else ''}. Nothing was written. "
        f"Export to saved_model or litert-int2{', or use a depthwise one' if grouped else ''}."
    )
