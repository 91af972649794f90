"""Exports one model to several formats at once."""

import os
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tfqkd.compat import keras
from tfqkd.export.format_options import with_arena, with_options, with_types
from tfqkd.export.formats import Format, parse_formats
from tfqkd.export.keras_file import write_keras
from tfqkd.export.litert import write_litert
from tfqkd.export.micro import write_micro
from tfqkd.export.onnx import write_onnx
from tfqkd.export.report import Report
from tfqkd.export.saved_model import write_saved_model
from tfqkd.export.source import Source
from tfqkd.export.verification import ExportError
from tfqkd.runtime.inputs import Given

_WRITERS: dict[str, Callable[[Source, pathlib.Path, Format], Report]] = {
    "tensorflow": write_saved_model,
    "tf_keras": write_keras,
    "ai_edge_litert": write_litert,
    "tflite_micro": write_micro,
    "onnxruntime": write_onnx,
}


def export(
    model: keras.Model,
    directory: str | os.PathLike[str],
    formats: str | Iterable[str],
    *,
    class_names: Any = None,
    images: Given | None = None,
    calibration: Given | None = None,
    test: tuple[Given, np.ndarray] | None = None,
    head: str = "float32",
    dense_kernels: str = "exact",
    input_type: str = "float32",
    output_type: str = "float32",
    arena_bytes: int = 0,
    output: str | Mapping[str, str] | None = None,
    batch_size: int | None = None,
    centre_crop: bool = False,
) -> list[Report]:
    """Writes a model in several formats, each verified in its runtime before it appears.

    Example:
        ```python
        reports = export(quantized, "runs/1/export", "saved_model,litert-int8", class_names=names)
        ```

    Args:
        model: A quantized or plain model from raw pixels [N, H, W, C] in 0..255 to outputs [N,
            classes]; or from other inputs, one or several, to outputs [N, ...], one or several. Files have
            the names and the order of several, as `keras.Input` and the layers of the outputs, or the keys of
            dicts, give them.
        directory: Where the files go, under the names in `FORMATS`.
        formats: Names of formats, in an iterable or separated by commas.
        class_names: One name a class; of several outputs a dict by output.
        images: What to verify on, uint8 or float32 [n, H, W, C] in 0..255, or what else the model takes: of
            several inputs a list in order, or a dict by name. 16 random examples by default; of other
            numbers than pixels, give real ones.
        calibration: Real examples, as `images`; "litert-int8-full" measures the ranges of activations
            on them.
        test: Examples, as `images`, and their classes, integers [n]: every file's accuracy on them is
            measured, and may not fall by more than `accuracy.allowed_fall`.
        head: Of "litert-int2": see `to_litert`.
        dense_kernels: Of "litert-int2": see `to_litert`.
        input_type: Of files of integers alone: see `to_litert`.
        output_type: Of files of integers alone: see `to_litert`.
        arena_bytes: Of "tflm": the most that tensors and structures may take on the device; 0 for any.
        output: What the model returns, if it may not show it: "logits", "sigmoid_logits", "softmax",
            "sigmoid" or "values", see `tfqkd.runtime.outputs`. By default its last layer and the loss
            that it was compiled with tell, and linear outputs without a loss are logits. Every file
            says it, and what runs a file goes by it. Of several outputs a dict by output.
        batch_size: How many examples a file takes at once; None for any number. A "keras" file takes any.
        centre_crop: Whether files say that the model was trained on the middle of images, which
            `--data.centre_crop` cuts out before it is resized. `bin/predict` does as they say.

    Returns:
        One report a format, in the order given.

    Raises:
        ImportError: If a format's runtime is not installed.
        ValueError: If a format is unknown, or an argument does not fit the model.
        ExportError: If a file does not compute what the model computes. The other formats are
            written all the same: its `reports` are theirs.
    """
    chosen = parse_formats(formats if isinstance(formats, str) else ",".join(formats))
    chosen = with_options(chosen, head, dense_kernels)
    chosen = with_types(chosen, input_type, output_type)
    chosen = with_arena(chosen, arena_bytes)
    for form in chosen:
        form.require_runtime()
    source = Source.prepare(
        model, class_names, images, calibration, test, output, batch_size, centre_crop
    )
    reports: list[Report] = []
    failures: dict[str, ExportError] = {}
    for form in chosen:
        try:
            reports.append(write_format(source, pathlib.Path(directory), form))
        except ExportError as error:
            failures[form.name] = error
    if failures:
        raise _together(failures, reports, len(chosen))
    return reports


def write_format(source: Source, directory: pathlib.Path, form: Format) -> Report:
    """Writes a prepared model in one format; see `export`."""
    return _WRITERS[form.runtime](source, directory / form.file_name, form)


def _together(
    failures: dict[str, ExportError], reports: Sequence[Report], asked: int
) -> ExportError:
    """Returns one error for all formats that failed."""
    (first, *_) = failures.values()
    if asked == 1:
        return first
    said = " ".join(f"{name}: {error}" for name, error in failures.items())
    written = ", ".join(report.format for report in reports)
    others = f" The others are written: {written}." if reports else ""
    error = ExportError(f"{said}{others}", reports)
    error.__cause__ = first
    return error
