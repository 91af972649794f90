"""The exporters, for a model of either Keras: a Keras 3 model is exported by its tf_keras twin."""

import importlib
from typing import Any

from tfqkd.export.report import Report
from tfqkd.fronts.choice import front_name, strip_quantization


def export(model: Any, directory: Any, formats: Any, **settings: Any) -> list[Report]:
    """Writes a model in several formats, each verified in its runtime before it appears.

    Example:
        ```python
        reports = export(quantized, "runs/1/export", "saved_model,litert-int8", class_names=names)
        ```

    Args:
        model: A quantized or plain model of tf_keras or Keras 3, from raw pixels [N, H, W, C] in 0..255 to
            outputs [N, classes]. Of Keras 3 its tf_keras twin is converted, in a process of its own.
        directory: Where the files go, under the names in `FORMATS`.
        formats: Names of formats, in an iterable or separated by commas.
        **settings: As for `tfqkd.export.exporter.export`.

    Returns:
        One report a format, in the order given.

    Raises:
        ImportError: If a format's runtime is not installed.
        ValueError: If a format is unknown, an argument does not fit the model, or a layer has no twin.
        ExportError: If a file does not compute what the model computes.
    """
    if front_name(model) == "keras3":
        return _by_twin("export", model, directory, {"formats": formats, **settings})
    return _own("exporter", "export")(model, directory, formats, **settings)


def require_exportable(model: Any, class_names: Any, formats: Any) -> None:
    """Raises if a model cannot be exported at all; without writing anything.

    Args:
        model: Of tf_keras or Keras 3.
        class_names: Of its outputs.
        formats: Names of formats.

    Raises:
        ImportError: If TensorFlow is missing, which exports models of Keras 3.
        ValueError: If the model has no fixed images, other outputs than names, or a layer without a twin.
    """
    if front_name(model) == "keras3":
        importlib.import_module("tfqkd.export.twin_process").require_tensorflow()
        importlib.import_module("tfqkd.export.twin_layers").require_twin(strip_quantization(model))
        return
    _own("source", "require_exportable")(model, class_names)
    if "keras" in formats:
        _own("keras_file", "require_own_layers")(model)


def to_litert(model: Any, path: Any, **settings: Any) -> Report:
    """Writes a model of either Keras as a LiteRT file; see `tfqkd.export.litert.to_litert`."""
    return _one("litert", "to_litert", model, path, settings)


def to_onnx(model: Any, path: Any, **settings: Any) -> Report:
    """Writes a model of either Keras as an ONNX file; see `tfqkd.export.onnx.to_onnx`."""
    return _one("onnx", "to_onnx", model, path, settings)


def to_saved_model(model: Any, path: Any, **settings: Any) -> Report:
    """Writes a model of either Keras as a SavedModel; see `tfqkd.export.saved_model.to_saved_model`."""
    return _one("saved_model", "to_saved_model", model, path, settings)


def _one(module: str, function: str, model: Any, path: Any, settings: dict[str, Any]) -> Report:
    if front_name(model) == "keras3":
        return _by_twin(function, model, path, settings)[0]
    return _own(module, function)(model, path, **settings)


def _by_twin(function: str, model: Any, path: Any, settings: dict[str, Any]) -> list[Report]:
    process = importlib.import_module("tfqkd.export.twin_process")
    return process.exported(function, model, path, settings)


def _own(module: str, function: str) -> Any:
    # Imported here: it imports TensorFlow, which a user of Keras 3 may not have.
    return getattr(importlib.import_module(f"tfqkd.export.{module}"), function)
