"""What the process does that exports a Keras 3 model; see `tfqkd.export.twin_process.Exporting`."""

import dataclasses
import importlib
import json
import pathlib
from typing import Any

import tfqkd.compat  # First: with it TensorFlow loads no JAX.

# isort: split
import keras as keras3
import numpy as np

import tfqkd.fronts.keras3  # noqa: F401 (tells Keras its classes)
from tfqkd.export.interface import Interface, random_examples
from tfqkd.export.report import Report
from tfqkd.export.twin import require_same, twin
from tfqkd.export.twin_layers import ONLY_THE_TWIN
from tfqkd.export.twin_process import ARRAYS, CALL, MODEL, RESULT, unpacked
from tfqkd.export.verification import ExportError
from tfqkd.fronts.keras3.kernels import parts
from tfqkd.fronts.keras3.model import is_quantized
from tfqkd.fronts.keras3.stripping import strip_quantization
from tfqkd.runtime.inputs import checked_inputs

_FEW = 16

_FUNCTIONS = {
    "export": "tfqkd.export.exporter",
    "export_one": "tfqkd.export.exporter",
    "require_formats": "tfqkd.export.early_check",
}


def main(folder: pathlib.Path) -> None:
    """Makes the call that is in a folder, and leaves the result there."""
    call = json.loads((folder / CALL).read_text())
    try:
        result: dict[str, Any] = {"reports": _made(folder, call)}
    except ExportError as error:
        reports = [dataclasses.asdict(report) for report in error.reports]
        result = {"reports": reports, "error": "ExportError", "message": str(error)}
    except (ValueError, TypeError, ImportError) as error:
        kind = next(k.__name__ for k in type(error).__mro__ if k.__module__ == "builtins")
        result = {"reports": [], "error": kind, "message": str(error)}
    (folder / RESULT).write_text(json.dumps(result))


def _made(folder: pathlib.Path, call: dict[str, Any]) -> list[dict[str, Any]]:
    model = keras3.models.load_model(folder / MODEL, compile=False)
    model = in_float32(strip_quantization(model) if is_quantized(model) else model)
    copy = twin(model)
    copy.quantized_layers |= set(call["quantized"])
    if call["function"] == ONLY_THE_TWIN:
        return []
    if call["task"]:
        copy.distilled_task = call["task"]
    settings = dict(call["settings"])
    with np.load(folder / ARRAYS) as arrays:
        given = {name: unpacked(name, arrays) for name in ("images", "calibration", "test_images")}
        test = given.pop("test_images")
        settings |= {name: value for name, value in given.items() if value is not None}
        if test is not None:
            settings["test"] = (test, arrays["test_labels"])
    require_same(model, copy, _examples(copy, settings.get("images")))
    function = getattr(importlib.import_module(_FUNCTIONS[call["function"]]), call["function"])
    made = function(copy, call["path"], **settings)
    reports: list[Report] = made if isinstance(made, list) else [made]
    return [dataclasses.asdict(report) for report in reports if report]


def _examples(copy: Any, given: Any) -> list[np.ndarray]:
    """A few examples of each input, in the order of the model's."""
    interface = Interface.of(copy)
    taken = interface.open_batch
    found = checked_inputs(random_examples(copy, interface) if given is None else given, taken)
    return [values[:_FEW] for values in found.values()]


def in_float32(model: Any) -> Any:
    """Returns a model with all its layers in float32, as its file computes.

    Args:
        model: A Functional or Sequential Keras 3 model, of mixed precision, say.
    """
    if all(part.compute_dtype == "float32" for part in parts(model)):
        return model
    copy = keras3.models.clone_model(
        model,
        clone_function=lambda layer: type(layer).from_config(_of_float32(layer.get_config())),
        recursive=True,
    )
    copy.set_weights(model.get_weights())
    return copy


def _of_float32(config: Any) -> Any:
    """A config whose layers, also those within layers, are of float32."""
    if isinstance(config, dict):
        return {k: "float32" if k == "dtype" else _of_float32(v) for k, v in config.items()}
    return [_of_float32(each) for each in config] if isinstance(config, list) else config
