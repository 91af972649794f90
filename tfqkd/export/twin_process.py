"""Exports of Keras 3 models: by their tf_keras twins, in a process of its own where TensorFlow is.

The process of the user imports no TensorFlow; one with JAX or PyTorch may not even be able to.
"""

import contextlib
import dataclasses
import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfqkd.core.summary import FLOAT_BITS
from tfqkd.export.report import LayerPacking, LayerSize, QuantizedKernel, Report
from tfqkd.export.twin_layers import require_twin
from tfqkd.export.verification import ExportError
from tfqkd.fronts.choice import strip_quantization

MODEL, CALL, ARRAYS = "model.keras", "call.json", "arrays.npz"
RESULT, SAID = "result.json", "said.txt"
_CHILD = "tfqkd.export.twin_child"
_ERRORS = {each.__name__: each for each in (ValueError, TypeError, ImportError)}


class Exporting:
    """An exporter at work on the twin of a Keras 3 model, in a process that ends when this one does.

    Args:
        function: "export" or "export_one" of `export/exporter.py`, or "require_formats".
        model: A quantized or plain Keras 3 model.
        saved: The model, or the plain one of its quantized weights: that process strips by TensorFlow, which
            may differ from another backend in a last bit.
        path: What the exporter takes behind the model.
        settings: Its other arguments.
        devices: What `CUDA_VISIBLE_DEVICES` is in that process; None for what it is in this one.
    """

    def __init__(
        self,
        function: str,
        model: Any,
        saved: Any,
        path: Any,
        settings: dict[str, Any],
        devices: str | None = None,
    ) -> None:
        self._scratch = tempfile.TemporaryDirectory()
        self._folder = folder = pathlib.Path(self._scratch.name)
        saved.save(folder / MODEL)
        _write_call(folder, function, path, settings, model)
        # What it leaves elsewhere when it is killed would stay there.
        own = {"KERAS_BACKEND": "tensorflow", "TMPDIR": str(folder)}
        if devices is not None:
            own["CUDA_VISIBLE_DEVICES"] = devices
        with (folder / SAID).open("wb") as said:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "tfqkd.process.child", _CHILD, str(folder)],
                env={**os.environ, **own},
                # Its end tells the child of that of this process.
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for this process, which keeps what it has made before it ends the child.
                start_new_session=True,
            )

    def __enter__(self) -> "Exporting":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def wait(self, seconds: float) -> bool:
        """Waits for the process to end, at most so long, and returns whether it has."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(seconds)
        return self._child.returncode is not None

    def reports(self) -> list[Report]:
        """Waits for the process to end, and returns the reports of the files that were written.

        Raises:
            ValueError: As the exporter raises it, or if a twin computes something else.
            ExportError: As the exporter raises it.
        """
        status = self._child.wait()
        result = self._folder / RESULT
        if not result.exists():
            said = (self._folder / SAID).read_text(errors="replace").strip()[-500:]
            raise ExportError(
                "The process that exports must end with a result. Received: exit status "
                f"{status}: {said}. Nothing was written."
            )
        return _checked(json.loads(result.read_text()))

    def close(self) -> None:
        """Ends the process, whatever it does."""
        if self._child.poll() is None:
            os.killpg(self._child.pid, signal.SIGKILL)
        with self._child:
            self._scratch.cleanup()


def exported(function: str, model: Any, path: Any, settings: dict[str, Any]) -> list[Report]:
    """Calls an exporter with the twin of a Keras 3 model in another process.

    Args:
        function: As for `Exporting`.
        model: A quantized or plain Keras 3 model.
        path: What the exporter takes behind the model.
        settings: Its other arguments.

    Returns:
        The reports of the files that were written.

    Raises:
        ImportError: If TensorFlow is not installed.
        ValueError: If a layer has no twin, or as the exporter raises it.
        ExportError: As the exporter raises it.
    """
    require_tensorflow()
    plain = strip_quantization(model)
    require_twin(plain)
    with Exporting(function, model, plain, path, settings) as exporting:
        return exporting.reports()


def require_tensorflow() -> None:
    """Raises ImportError where no Keras 3 model can be exported."""
    missing = [
        name for name in ("tensorflow", "tf_keras") if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise ImportError(
            "TensorFlow and tf_keras must be installed to export a Keras 3 model: its tf_keras twin is "
            f"converted. Received: an environment without {' and '.join(missing)}. Install them with: pip "
            "install tensorflow tf-keras; or save tfqkd.strip_quantization(model) as .keras, and run where "
            "they are: bin/export --model=FILE.keras"
        )


def _write_call(
    folder: pathlib.Path, function: str, path: Any, settings: dict[str, Any], model: Any
) -> None:
    examples = {name: settings.get(name) for name in ("images", "calibration")}
    if settings.get("test") is not None:
        examples["test_images"], examples["test_labels"] = settings["test"]
    arrays: dict[str, Any] = {}
    for name, value in examples.items():
        several = len(model.inputs) > 1 and name != "test_labels"
        arrays |= {} if value is None else packed(name, value, several)
    np.savez(folder / ARRAYS, **arrays)
    plain = {k: v for k, v in settings.items() if k not in ("images", "calibration", "test")}
    if "formats" in plain and not isinstance(plain["formats"], str):
        plain["formats"] = ",".join(plain["formats"])
    if plain.get("class_names") is not None:
        names = plain["class_names"]
        is_named = isinstance(names, Mapping)
        plain["class_names"] = {k: list(v) for k, v in names.items()} if is_named else list(names)
    call = {
        "function": function,
        "path": os.fspath(path),
        "settings": plain,
        "task": getattr(model, "distilled_task", None),
        "quantized": _quantized_layers(model),
    }
    (folder / CALL).write_text(json.dumps(call))


def packed(name: str, examples: Any, several: bool) -> dict[str, np.ndarray]:
    """Returns examples as named arrays.

    Args:
        name: What the exporter calls them.
        examples: A batch; of several inputs a list of batches, or a dict by name.
        several: Whether the model has several inputs.
    """
    if isinstance(examples, Mapping):
        return {f"{name}/{key}": np.asarray(value) for key, value in examples.items()}
    if several:
        return {f"{name}[{index}]": np.asarray(value) for index, value in enumerate(examples)}
    return {name: np.asarray(examples)}


def unpacked(name: str, arrays: Mapping[str, np.ndarray]) -> Any:
    """Returns the examples that `packed` named; None where there are none."""
    named = {key: arrays[key] for key in arrays if key.startswith(f"{name}/")}
    listed = [arrays[key] for key in arrays if key.startswith(f"{name}[")]
    if named:
        return {key.removeprefix(f"{name}/"): value for key, value in named.items()}
    return listed or arrays.get(name)


def _quantized_layers(model: Any) -> list[str]:
    from tfqkd.fronts.keras3.model import quantized_kernels  # It is a model of Keras 3.

    kernels = [k for k in quantized_kernels(model) if k.quantizer.bits < FLOAT_BITS]
    return list(dict.fromkeys(kernel.layer for kernel in kernels))


def _checked(result: dict[str, Any]) -> list[Report]:
    reports = [_report(each) for each in result["reports"]]
    if "error" not in result:
        return reports
    if result["error"] in _ERRORS:
        raise _ERRORS[result["error"]](result["message"])
    raise ExportError(result["message"], reports)


def _report(fields: dict[str, Any]) -> Report:
    kinds = {"quantized": QuantizedKernel, "packing": LayerPacking, "layers": LayerSize}
    made: dict[str, Any] = {}
    for field in dataclasses.fields(Report):
        value = fields[field.name]
        if field.name in kinds:
            value = [kinds[field.name](**each) for each in value]
        made[field.name] = tuple(value) if isinstance(value, list) else value
    return Report(**made)
