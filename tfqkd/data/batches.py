"""What every front's batches have in common."""

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
