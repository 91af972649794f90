"""Loads an exported file, whatever its kind, as a function from images to logits."""

import importlib
import os
import pathlib
from collections.abc import Callable

from tfqkd.runtime.loaded_model import LoadedModel

_GRAPH = "saved_model.pb"
_CLASSES = {
    ".tflite": ("tfqkd.runtime.litert", "LitertModel"),
    ".packed": ("tfqkd.runtime.litert", "LitertModel"),
    ".tflm": ("tfqkd.runtime.micro", "MicroModel"),
    ".onnx": ("tfqkd.runtime.onnx", "OnnxModel"),
}


RUNTIME_SUFFIXES = tuple(_CLASSES)


def kind_of(path: pathlib.Path) -> str:
    """Returns what a model is that no runtime here runs: "SavedModel", "Keras model", or "" for neither."""
    if path.name == _GRAPH or (path / _GRAPH).is_file():
        return "SavedModel"
    return "Keras model" if path.suffix in (".keras", ".h5") else ""


def load(
    path: str | os.PathLike[str], threads: int | None = None, *, direct: bool = False
) -> LoadedModel:
    """Loads a file that tfqkd exported; needs NumPy and the file's runtime, never TensorFlow.

    Codes of 2 and 4 bits are widened to 8 bits in memory, so that the runtime computes at float
    speed (see `tfqkd.runtime.expansion`), or folded by ONNX Runtime; packed files are widened as a whole
    (see `tfqkd.runtime.widening`). The file stays as it is.

    Example:
        ```python
        model = tfqkd.export.load("student-int2.tflite", threads=2)
        best = model.class_names[model(images)[0].argmax()]
        ```

    Args:
        path: A .tflite, .packed or .onnx file, or a .tflm folder.
        threads: How many threads one call uses; the runtime's own choice by default.
        direct: Give the file to the runtime as it is, as a program without tfqkd does: the same
            logits, but slower where it has codes below 8 bits.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If its runtime is not installed.
        ValueError: If the file is damaged, or not one of tfqkd's.
    """
    path = pathlib.Path(path)
    return runtime_of(path)(path, threads, direct=direct)


def runtime_of(path: str | os.PathLike[str]) -> Callable[..., LoadedModel]:
    """Returns the class that runs files with this name, its runtime imported.

    Raises:
        ImportError: If the runtime is not installed.
        ValueError: If there is none.
    """
    path = pathlib.Path(path)
    if path.suffix not in _CLASSES:
        raise ValueError(
            f"`path` must end in {' or '.join(_CLASSES)}. Received: {path}. "
            "Load a SavedModel with tf.saved_model.load, and a .keras or .h5 file with tf_keras."
        )
    module, name = _CLASSES[path.suffix]
    return getattr(importlib.import_module(module), name)
