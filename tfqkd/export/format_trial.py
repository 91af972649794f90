"""The formats of a run, tried on its untrained student: here, or in a process beside the training."""

import importlib
from collections.abc import Sequence
from typing import Any

from tfqkd.fronts.choice import front_name
from tfqkd.storage import digest

_passed: set[str] = set()  # What this process has tried already, for comparisons of many runs.


class FormatTrial:
    """Formats that are tried by another process.

    Args:
        exporting: The process, an `tfqkd.export.twin_process.Exporting`.
        key: What is kept if they pass.
    """

    def __init__(self, exporting: Any, key: str) -> None:
        self._exporting, self._key = exporting, key

    def wait(self, seconds: float) -> bool:
        """Waits for the process to end, at most so long, and returns whether it has."""
        return self._exporting.wait(seconds)

    def require(self) -> None:
        """Waits for the process to end.

        Raises:
            ExportError: If a format cannot be written; it names the format.
            ValueError: If a layer computes something else than its twin.
        """
        self._exporting.reports()
        _passed.add(self._key)

    def close(self) -> None:
        """Ends the process, whatever it does."""
        self._exporting.close()


def try_formats(
    model: Any,
    formats: Sequence[str],
    images: Any,
    class_names: Any = None,
    arena_bytes: int = 0,
) -> FormatTrial | None:
    """Tries formats on an untrained model of either Keras; see `tfqkd.export.early_check.require_formats`.

    Returns:
        What tries a Keras 3 model, in a process that TensorFlow is imported in; None where they have passed.

    Raises:
        ExportError: If a format cannot be written, of a tf_keras model.
    """
    named = ",".join(formats)
    key = digest(f"{front_name(model)} {model.to_json()} {named} {class_names} {arena_bytes}")
    if key in _passed:
        return None
    print(f"Tries {', '.join(formats)} on the untrained student.", flush=True)
    if front_name(model) == "keras3":
        process = importlib.import_module("tfqkd.export.twin_process")
        settings = {"images": images, "class_names": class_names, "arena_bytes": arena_bytes}
        # The devices are for the training here.
        exporting = process.Exporting("require_formats", model, model, named, settings, "-1")
        return FormatTrial(exporting, key)
    # Imported here: it imports TensorFlow, which a user of Keras 3 may not have.
    check = importlib.import_module("tfqkd.export.early_check")
    check.require_formats(model, named, images, class_names, arena_bytes)
    _passed.add(key)
    return None
