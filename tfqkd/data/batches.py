"""What every front's batches have in common."""

from tfqkd.data.augmentation import Augmentation
from tfqkd.data.images import Split

FIXED_VIEWS_SEED = 0
"""Of the views that are repeated: the same ones for every seed of a training."""


def steps_per_epoch(split: Split, batch_size: int) -> int:
    """Returns the number of full batches in `split`.

    Raises:
      ValueError: If there is none, or `batch_size` is below 1.
    """
    if not 1 <= batch_size <= len(split):
        raise ValueError(
            f"`batch_size` must be 1 to {len(split)}, the number of training images. "
            f"Received: batch_size={batch_size}. Use smaller batches or more images."
        )
    return len(split) // batch_size


def require_repeatable(augmentation: Augmentation, fixed_views: int) -> None:
    """Raises ValueError if views that are to be repeated are mixtures, whose partners change."""
    if fixed_views and augmentation.mixup:
        raise ValueError(
            "Views that are repeated, with the teacher's logits kept, must not be mixtures: an image has "
            f"another partner each time. Received: mixup={augmentation.mixup}, {fixed_views} views. "
            "Ask the teacher live, or leave mixup out."
        )
