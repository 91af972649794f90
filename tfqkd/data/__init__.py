"""Image classification data, in memory or on the disk, and how it is varied; a front makes its batches.

The package is lazy: what a name needs is imported when it is first used.
"""

import importlib
from typing import Any

_NAMES = {
    "Augmentation": "augmentation",
    "ImageData": "images",
    "Pictures": "pictures",
    "Split": "images",
    "load": "datasets",
    "steps_per_epoch": "batches",
}

__all__ = list(_NAMES)


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"tfqkd.data.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'tfqkd.data' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
