"""Image classification data: loading, augmentation, batches.

The package is lazy: TensorFlow is imported when a name is first used.
"""

import importlib
from typing import Any

_NAMES = {
    "Augmentation": "augmentation",
    "ImageData": "images",
    "Split": "images",
    "augment": "augmentation",
    "draw_views": "augmentation",
    "evaluation_batches": "batches",
    "load": "datasets",
    "steps_per_epoch": "batches",
    "training_batches": "batches",
}

__all__ = list(_NAMES)


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"tfqkd.data.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'tfqkd.data' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
