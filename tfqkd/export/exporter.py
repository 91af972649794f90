"""Exports one model to several formats at once."""

import os
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tfqkd.compat import keras
from tfqkd.export.format_options import with_arena, with_options, with_types
from tfqkd.export.formats import FORMATS, Format, parse_formats
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
    **settings: Any,
) -> list[Report]:
    """Writes a tf_keras model in several formats; see `tfqkd.export.export`."""
    chosen = parse_formats(formats if isinstance(formats, str) else ",".join(formats))
    chosen, source = _prepared(model, chosen, **settings)
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


def export_one(
    model: keras.Model, path: str | os.PathLike[str], format: str, **settings: Any
) -> Report:
    """Writes a tf_keras model as one file; see `tfqkd.export.to_litert` and its like."""
    (form,), source = _prepared(model, (FORMATS[format],), **settings)
    return _WRITERS[form.runtime](source, pathlib.Path(path), form)


def write_format(source: Source, directory: pathlib.Path, form: Format) -> Report:
    """Writes a prepared model in one format; see `tfqkd.export.export`."""
    return _WRITERS[form.runtime](source, directory / form.file_name, form)


def _prepared(
    model: keras.Model,
    formats: Sequence[Format],
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
) -> tuple[tuple[Format, ...], Source]:
    """Returns formats with their options, and the model as they take it."""
    chosen = with_options(formats, head, dense_kernels)
    chosen = with_types(chosen, input_type, output_type)
    chosen = with_arena(chosen, arena_bytes)
    for form in chosen:
        form.require_runtime()
    source = Source.prepare(
        model, class_names, images, calibration, test, output, batch_size, centre_crop
    )
    return chosen, source


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
