"""TensorFlow SavedModels."""

import pathlib
import tempfile

import numpy as np

from tfqkd.compat import tf
from tfqkd.export.canonical import settle_saved_model
from tfqkd.export.formats import Format
from tfqkd.export.report import Report
from tfqkd.export.source import Source
from tfqkd.export.stored_kernels import StoredKernel
from tfqkd.export.verification import ExportError
from tfqkd.export.writing import metadata, variables_read_back, write_verified
from tfqkd.runtime.signature import METADATA_FILE, SIGNATURE

LABELS = "labels.txt"
_VARIABLES = "model_variables"  # The module's attribute, which checkpoints name them after.
_RUNNER = str(pathlib.Path(__file__).with_name("saved_model_runner.py"))


def write_saved_model(source: Source, path: pathlib.Path, form: Format) -> Report:
    """Writes and verifies a prepared model; see `tfqkd.export.to_saved_model`."""
    _require_replaceable(path)

    def write(draft: pathlib.Path) -> list[StoredKernel]:
        save(source, draft)
        settle_saved_model(draft)
        # The folder for what no graph reads.
        (draft / METADATA_FILE).parent.mkdir()
        (draft / METADATA_FILE).write_text(metadata(source, form), "utf-8")
        return variables_read_back(source, _variables(draft, len(source.model.variables)))

    return write_verified(source, path, form, write=write, runners=[[_RUNNER]])


def save(source: Source, directory: pathlib.Path) -> None:
    """Writes a prepared model to a new directory, without verifying it."""
    module = source.module()
    with tempfile.TemporaryDirectory(prefix="tfqkd-") as scratch:
        if isinstance(source.class_names, tuple):
            labels = pathlib.Path(scratch) / LABELS
            labels.write_text("".join(f"{name}\n" for name in source.class_names), "utf-8")
            module.labels = tf.saved_model.Asset(str(labels))
        tf.saved_model.save(module, str(directory), signatures={SIGNATURE: module.serve})


def _variables(directory: pathlib.Path, count: int) -> list[np.ndarray]:
    try:
        stored = tf.train.load_checkpoint(str(directory / "variables" / "variables"))
        names = [f"{_VARIABLES}/{index}/.ATTRIBUTES/VARIABLE_VALUE" for index in range(count)]
        return [stored.get_tensor(name) for name in names]
    except (tf.errors.OpError, IndexError, ValueError, RuntimeError) as error:
        raise ExportError(
            "A SavedModel must be complete when it is read back. Received: variables with "
            f"{error}. Nothing was written. Make room on the disk, or choose another one."
        ) from error


def _require_replaceable(path: pathlib.Path) -> None:
    is_empty = path.is_dir() and not any(path.iterdir())
    if path.exists() and not is_empty and not (path / "saved_model.pb").is_file():
        raise ExportError(
            "`path` must be free, or an earlier SavedModel that can be replaced. "
            f"Received: {path}, which is something else. Choose another path, or delete it."
        )
