"""LiteRT (TensorFlow Lite) files."""

import json
import os
import pathlib
import re
import tempfile
from collections.abc import Sequence

import numpy as np

from tfqkd.compat import keras, tf
from tfqkd.export.formats import FORMATS, Format
from tfqkd.export.publication import Kernels, publish
from tfqkd.export.report import QuantizedKernel, Report
from tfqkd.export.saved_model import save
from tfqkd.export.source import Source
from tfqkd.export.verification import ExportError
from tfqkd.runtime.signature import METADATA, SIGNATURE
from tfqkd.version import __version__

_RUNTIME = "ai_edge_litert"
_RUNNER = ("-m", "tfqkd.runtime.predict")


def to_litert(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    format: str = "litert-float32",
    class_names: Sequence[str] | None = None,
    images: np.ndarray | None = None,
) -> Report:
    """Writes a model as a LiteRT file, which runs on a device without TensorFlow.

    Its signature `serving_default` takes `images` float32 [N, H, W, C] in 0..255, for any N, and
    returns `logits` float32 [N, classes]. Class names, format and input range are a JSON object in
    the metadata entry `tfqkd`; `tfqkd.runtime.LitertModel` reads it.

    "litert-int8" stores int8 codes and a float32 scale per channel for each kernel that
    quantization has put on a grid of at most 8 bits: −1, 0 and 1 for a ternary one. They stand for
    the very values of the model, so that its logits stay the same. All other weights, as those of
    layers that were not quantized, stay float32: the report lists them.

    Example:
        ```python
        report = to_litert(quantized, "student-int8.tflite", format="litert-int8")
        logits = tfqkd.runtime.LitertModel("student-int8.tflite")(images)
        ```

    Args:
        model: A quantized or plain model from raw pixels to logits.
        path: The file to write. An earlier one there is replaced, if the new one is right.
        format: "litert-float32" or "litert-int8".
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
    if path.is_dir():
        raise ExportError(
            f"`path` must name a file. Received: {path}, which is a directory. "
            f"Add a file name, for example {path / form.file_name}."
        )
    return publish(
        source, path, form, write=lambda draft: _write(source, draft, form), runner=_RUNNER
    )


def _checked_format(name: str) -> Format:
    known = [form.name for form in FORMATS.values() if form.runtime == _RUNTIME]
    if name not in known:
        raise ValueError(
            f"`format` must be one of {', '.join(known)}. Received: format={name!r}. "
            "For a SavedModel use to_saved_model."
        )
    return FORMATS[name]


def _write(source: Source, draft: pathlib.Path, form: Format) -> Kernels:
    from tfqkd.export import tflite  # noqa: PLC0415 (needs LiteRT, which is optional)

    content = tflite.read(_convert(source))
    kernels = tflite.store_kernels(content, form.kernel_bits)
    metadata = {
        "producer": f"tfqkd {__version__}",
        "format": form.name,
        "input_range": [0, 255],
        "class_names": source.class_names,
    }
    tflite.add_metadata(content, METADATA, json.dumps(metadata).encode())
    draft.write_bytes(tflite.write(content))
    layers = source.kernel_layers()
    return Kernels(
        quantized=tuple(
            QuantizedKernel(_layer(kernel.names, layers), kernel.value.size, grid.max_code)
            for kernel, grid in kernels
            if grid is not None
        ),
        float_layers=tuple(
            _layer(kernel.names, layers) for kernel, grid in kernels if grid is None
        ),
    )


def _layer(names: str, layers: Sequence[str]) -> str:
    """Finds the Keras layer in the names that the converter gave a kernel and its result."""
    return next((part for part in re.split("[/;]", names) if part in layers), names)


def _convert(source: Source) -> bytes:
    with tempfile.TemporaryDirectory(prefix="tfqkd-") as scratch:
        save(source, pathlib.Path(scratch) / "saved_model")
        converter = tf.lite.TFLiteConverter.from_saved_model(
            str(pathlib.Path(scratch) / "saved_model"), signature_keys=[SIGNATURE]
        )
        return converter.convert()
