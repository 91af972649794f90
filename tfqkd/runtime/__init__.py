"""Runs exported files with NumPy and the file's own runtime, never with TensorFlow."""

import importlib
from typing import Any

_NAMES = {
    "LitertModel": "tfqkd.runtime.litert",
    "MicroModel": "tfqkd.runtime.micro",
    "OnnxModel": "tfqkd.runtime.onnx",
    "load": "tfqkd.runtime.loading",
}

__all__ = ["LitertModel", "MicroModel", "OnnxModel", "load"]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'tfqkd.runtime' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
