"""Exports one model to several formats at once."""

import os
import pathlib
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from tfqkd.compat import keras
from tfqkd.export.formats import Format, parse_formats, with_options
from tfqkd.export.keras_file import write_keras
from tfqkd.export.litert import write_litert
from tfqkd.export.onnx import write_onnx
from tfqkd.export.report import Report
from tfqkd.export.saved_model import write_saved_model
from tfqkd.export.source import Source

_WRITERS: dict[str, Callable[[Source, pathlib.Path, Format], Report]] = {
    "tensorflow": write_saved_model,
    "tf_keras": write_keras,
    "ai_edge_litert": write_litert,
    "onnxruntime": write_onnx,
}


def export(
    model: keras.Model,
    directory: str | os.PathLike[str],
    formats: str | Iterable[str],
    *,
    class_names: Sequence[str] | None = None,
    images: np.ndarray | None = None,
    calibration: np.ndarray | None = None,
    test: tuple[np.ndarray, np.ndarray] | None = None,
    head: str = "float32",
    dense_kernels: str = "exact",
) -> list[Report]:
    """Writes a model in several formats, each verified in its runtime before it appears.

    Example:
        ```python
        reports = export(quantized, "runs/1/export", "saved_model,litert-int8", class_names=names)
        ```

    Args:
        model: A quantized or plain model from raw pixels [N, H, W, C] in 0..255 to logits [N,
            classes].
        directory: Where the files go, under the names in `FORMATS`.
        formats: Names of formats, in an iterable or separated by commas.
        class_names: One name a class.
        images: What to verify on, uint8 or float32 [n, H, W, C] in 0..255; 16 random ones by
            default.
        calibration: Real images, as `images`; "litert-int8-full" measures the ranges of activations
            on them.
        test: Images, as `images`, and their classes, integers [n]: every file's accuracy on them is
            measured, and must be the model's.
        head: Of "litert-int2": see `to_litert`.
        dense_kernels: Of "litert-int2": see `to_litert`.

    Returns:
        One report a format, in the order given.

    Raises:
        ImportError: If a format's runtime is not installed.
        ValueError: If a format is unknown, or an argument does not fit the model.
        ExportError: If a file does not compute what the model computes; those before it are
            written.
    """
    chosen = parse_formats(formats if isinstance(formats, str) else ",".join(formats))
    chosen = with_options(chosen, head, dense_kernels)
    for form in chosen:
        form.require_runtime()
    source = Source.prepare(model, class_names, images, calibration, test)
    return [write_format(source, pathlib.Path(directory), form) for form in chosen]


def write_format(source: Source, directory: pathlib.Path, form: Format) -> Report:
    """Writes a prepared model in one format; see `export`."""
    return _WRITERS[form.runtime](source, directory / form.file_name, form)
