"""The tfmot front: tf_keras models, quantized through tensorflow-model-optimization.

The package is lazy: TensorFlow is imported when a name is first used.
"""

import importlib
from typing import Any

_NAMES = {
    "Distiller": "tfqkd.distillation.distiller",
    "Ensemble": "tfqkd.distillation.teachers",
    "quantization_summary": "tfqkd.quantization.summary",
    "quantize_model": "tfqkd.quantization.model",
    "strip_quantization": "tfqkd.quantization.model",
}

__all__ = list(_NAMES)


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'tfqkd.tfmot' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
