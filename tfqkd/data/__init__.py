"""Image classification data, in memory or on the disk, and how it is varied; a front makes its batches.

The package is lazy: what a name needs is imported when it is first used.
"""

from tfqkd.lazy import lazy_names

_NAMES = {
    "Augmentation": "tfqkd.data.augmentation",
    "ImageData": "tfqkd.data.images",
    "Pictures": "tfqkd.data.pictures",
    "Split": "tfqkd.data.images",
    "load": "tfqkd.data.datasets",
    "steps_per_epoch": "tfqkd.data.batches",
}

__all__ = list(_NAMES)
__getattr__, __dir__ = lazy_names("tfqkd.data", _NAMES)
