"""Batch-norm statistics over many batches."""

from typing import Any

import numpy as np

NONE_TO_MEASURE = (
    "To re-estimate batch norm, a model must have some that is trainable. "
    "Received: {}, which has none. Leave the re-estimation out."
)


class Moments:
    """Pools mean and variance over batches: `μ = E[μ_B]`, `σ² = E[σ_B² + μ_B²] - μ²`, in float64."""

    def __init__(self) -> None:
        self._count = 0
        self._sum: Any = 0.0
        self._square: Any = 0.0

    def add(self, count: int, mean: np.ndarray, variance: np.ndarray) -> None:
        """Adds a batch.

        Args:
            count: Values of each channel.
            mean: Theirs.
            variance: Theirs.
        """
        exact = np.float64(mean)
        self._count += count
        self._sum += count * exact
        self._square += count * (np.float64(variance) + exact**2)

    def pooled(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns mean and variance of all batches, float32, in the shape that they came in.

        Raises:
            ValueError: If there was none.
        """
        if not self._count:
            raise ValueError("There must be data to estimate statistics on. Received: no batch.")
        mean = self._sum / self._count
        variance = np.maximum(self._square / self._count - mean**2, 0.0)
        return mean.astype(np.float32), variance.astype(np.float32)
