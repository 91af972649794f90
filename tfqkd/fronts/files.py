"""Model files of either Keras: the file tells which one has written it."""

import importlib
import os
import pathlib
from typing import Any

from tfqkd.fronts import choose
from tfqkd.fronts.front import Opened
from tfqkd.fronts.model_archive import is_of_keras3, keras_version


def load_file(path: pathlib.Path) -> Any:
    """Loads a model with the Keras that has saved it.

    Args:
        path: A `.keras` or `.h5` file of either Keras, or a SavedModel of tf_keras.

    Raises:
        ImportError: If Keras 3 has saved it, and its backend is not installed.
        ValueError: If it does not load, or holds code.
    """
    return _keras3(path).load_model(path) if is_of_keras3(path) else choose().load(path)


def open_file(path: pathlib.Path) -> Opened:
    """Opens a model with the Keras that has saved it; see `load_file`."""
    return _keras3(path).open_model(path) if is_of_keras3(path) else choose().open(path)


def _keras3(path: pathlib.Path) -> Any:
    try:
        return importlib.import_module("tfqkd.fronts.keras3.files")
    except ImportError as error:
        backend = os.environ.get("KERAS_BACKEND", "tensorflow")
        raise ImportError(
            "The backend of Keras 3 must be installed to load its models. Received: "
            f"{path}, saved by Keras {keras_version(path)}, and the backend {backend} ({error}). "
            "Set KERAS_BACKEND to one that is: tensorflow, jax or torch."
        ) from error
