"""ONNX files."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

from tfqkd.compat import keras
from tfqkd.export.format_options import with_types
from tfqkd.export.formats import Format, format_of
from tfqkd.export.report import Report
from tfqkd.export.source import Source
from tfqkd.export.stored_kernels import StoredKernel, check_kernels, check_layers
from tfqkd.export.verification import ExportError
from tfqkd.export.writing import metadata, require_file, write_verified
from tfqkd.runtime.inputs import Given
from tfqkd.runtime.signature import METADATA

_RUNTIME = "onnxruntime"
_RUNNER = ("-m", "tfqkd.runtime.predict")
_DIRECT_RUNNER = (*_RUNNER, "--direct")
_CONVERTER_OPSET = 18  # The newest that tf2onnx writes.
_OPSET, _IR_VERSION = 25, 13  # The first with 2-bit codes; onnxruntime 1.24.4 and later load it.


def to_onnx(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    format: str = "onnx-int2",
    class_names: Any = None,
    images: Given | None = None,
    input_type: str = "float32",
    output_type: str = "float32",
    output: str | Mapping[str, str] | None = None,
    batch_size: int | None = None,
    centre_crop: bool = False,
) -> Report:
    """Writes a model as an ONNX file for onnxruntime 1.24.4 or later.

    Its input `images` is float32 [N, H, W, C] in 0..255, for any N, its output `logits` float32 [N,
    classes]; of a model that ends in softmax or sigmoid `probabilities`, of other ones `values`. Class
    names, what the output is, format and input range are a JSON object in the metadata property `tfqkd`.
    "onnx-int2" stores codes as "litert-int2" does (see `to_litert`): constants of 2, 4 or 8 bits,
    and a DequantizeLinear with a scale per channel. "onnx-w8a8" and "onnx-w2a8" compute with integers by the
    steps that were trained, as "litert-w8a8" does; the latter's ternary kernels are 2-bit constants, which
    onnxruntime widens as it loads them.

    Example:
        ```python
        report = to_onnx(quantized, "student.onnx")
        logits = tfqkd.export.load("student.onnx")(images)
        ```

    Args:
        model: A quantized or plain model from raw pixels to logits, probabilities or values.
        path: The file to write. An earlier one there is replaced, if the new one is right.
        format: "onnx-int2", "onnx-float32", or "onnx-w8a8" or "onnx-w2a8" for a model of `DeployScheme`.
        class_names: As for `tfqkd.export.export`.
        images: What to verify it on, as for `tfqkd.export.export`.
        input_type: What files of integers alone take, as for `to_litert`.
        output_type: What they return, as for `to_litert`; scale and zero point of the codes are in the
            metadata.
        output: What the model returns, as for `tfqkd.export.export`.
        batch_size: How many examples the file takes at once; None for any number.
        centre_crop: As for `tfqkd.export.export`.

    Returns:
        What was written.

    Raises:
        ImportError: If onnx, tf2onnx or onnxruntime is not installed.
        ValueError: If an argument does not fit the model, or the format is unknown.
        ExportError: If the file does not compute what the model computes; nothing is written then.
    """
    (form,) = with_types([format_of(_RUNTIME, format)], input_type, output_type)
    form.require_runtime()
    source = Source.prepare(
        model,
        class_names,
        images,
        output=output,
        batch_size=batch_size,
        centre_crop=centre_crop,
    )
    return write_onnx(source, pathlib.Path(path), form)


def write_onnx(source: Source, path: pathlib.Path, form: Format) -> Report:
    """Writes and verifies a prepared model; see `to_onnx`."""
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
