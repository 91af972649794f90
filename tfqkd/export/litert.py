"""LiteRT (TensorFlow Lite) files."""

import json
import os
import pathlib
import tempfile
from collections.abc import Sequence

import numpy as np

from tfqkd.compat import keras, tf
from tfqkd.export.formats import FORMATS, Format
from tfqkd.export.kernels import check_layers, float_layers, quantized_kernels
from tfqkd.export.publication import Written, publish, require_file
from tfqkd.export.report import Report
from tfqkd.export.saved_model import save
from tfqkd.export.source import Source
from tfqkd.runtime.signature import METADATA, SIGNATURE
from tfqkd.version import __version__

_RUNTIME = "ai_edge_litert"
_RUNNER = ("-m", "tfqkd.runtime.predict")
_DIRECT_RUNNER = (*_RUNNER, "--direct")


def to_litert(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    format: str = "litert-int2",
    class_names: Sequence[str] | None = None,
    images: np.ndarray | None = None,
) -> Report:
    """Writes a model as a LiteRT file, which runs on a device without TensorFlow.

    Its signature `serving_default` takes `images` float32 [N, H, W, C] in 0..255, for any N, and
    returns `logits` float32 [N, classes]. Class names, format and input range are a JSON object in
    the metadata entry `tfqkd`; `tfqkd.export.load` reads it.

    "litert-int2" stores codes of 2 bits, and a float32 scale per channel, for each ternary kernel:
    −1, 0 and 1. Other kernels that quantization has put on a grid get codes of 4 or 8 bits, and
    ternary ones with other values below zero than above it two planes of 2 bits. They stand for the
    very values of the model, so that its logits stay the same. All other weights, as those of
    layers that were not quantized, stay float32: the report lists them. "litert-int8" does the same
    with 8 bits for every code.

    Example:
        ```python
        report = to_litert(quantized, "student.tflite")
        logits = tfqkd.export.load("student.tflite")(images)
        ```

    Args:
        model: A quantized or plain model from raw pixels to logits.
        path: The file to write. An earlier one there is replaced, if the new one is right.
        format: "litert-int2", "litert-int8" or "litert-float32".
        class_names: One name a class.
        images: What to verify it on, uint8 or float32 [n, H, W, C] in 0..255; 16 random ones by
            default.

    Returns:
        What was written.

    Raises:
        ImportError: If LiteRT is not installed.
        ValueError: If an argument does not fit the model, or the format is unknown.
        ExportError: If the file does not compute what the model computes; nothing is written then.
    """
    form = _checked_format(format)
    form.require_runtime()
    return write_litert(Source.prepare(model, class_names, images), pathlib.Path(path), form)


def write_litert(source: Source, path: pathlib.Path, form: Format) -> Report:
    """Writes and verifies a prepared model; see `to_litert`."""
    require_file(path, form)
    # A program without tfqkd gives the runtime the file as it is; ours widens narrow codes first.
    narrow = form.kernel_bits is not None and form.kernel_bits < 8
    return publish(
        source,
        path,
        form,
        write=lambda draft: _write(source, draft, form),
        runners=[_DIRECT_RUNNER, _RUNNER] if narrow else [_RUNNER],
    )


def _checked_format(name: str) -> Format:
    known = [form.name for form in FORMATS.values() if form.runtime == _RUNTIME]
    if name not in known:
        raise ValueError(
            f"`format` must be one of {', '.join(known)}. Received: format={name!r}. "
            "For a SavedModel use to_saved_model."
        )
    return FORMATS[name]


def _write(source: Source, draft: pathlib.Path, form: Format) -> Written:
    # They need LiteRT, which is optional.
    from tfqkd.export import tflite  # noqa: PLC0415
    from tfqkd.export.inspection import check_kernels, read_back  # noqa: PLC0415
    from tfqkd.export.localisation import first_wrong_layer  # noqa: PLC0415

    reference = _convert(source)
    content = tflite.read(reference)
    kernels = tflite.store_kernels(content, form.kernel_bits, source.kernel_layers())
    if form.kernel_bits is not None:
        check_layers(kernels, source.quantized)
    if form.drops_names:
        tflite.drop_inner_names(content)
    metadata = {
        "producer": f"tfqkd {__version__}",
        "format": form.name,
        "input_range": [0, 255],
        "class_names": source.class_names,
    }
    tflite.add_metadata(content, METADATA, json.dumps(metadata).encode())
    draft.write_bytes(tflite.write(content))
    check_kernels(read_back(draft), kernels)
    return Written(
        quantized=quantized_kernels(kernels),
        float_layers=float_layers(kernels),
        first_wrong_layer=lambda runner: first_wrong_layer(
            runner,
            draft,
            reference,
            [kernel.layer for kernel in kernels],
            source.images,
            tflite.cut_after,
        ),
    )


def _convert(source: Source) -> bytes:
    with tempfile.TemporaryDirectory(prefix="tfqkd-") as scratch:
        save(source, pathlib.Path(scratch) / "saved_model")
        converter = tf.lite.TFLiteConverter.from_saved_model(
            str(pathlib.Path(scratch) / "saved_model"), signature_keys=[SIGNATURE]
        )
        return converter.convert()
