"""Runs exported files with NumPy and the file's own runtime, never with TensorFlow."""

from tfqkd.lazy import lazy_names

_NAMES = {
    "LitertModel": "tfqkd.runtime.litert",
    "MicroModel": "tfqkd.runtime.micro",
    "OnnxModel": "tfqkd.runtime.onnx",
    "load": "tfqkd.runtime.loading",
}

__all__ = list(_NAMES)
__getattr__, __dir__ = lazy_names("tfqkd.runtime", _NAMES)
