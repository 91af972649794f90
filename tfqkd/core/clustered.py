"""Clustering: the weights of a kernel share a few values (arXiv 1510.00149, section 3)."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfqkd.core.composite import AROUND, AroundQuantizer
from tfqkd.core.ops import Ops, Tensor, exactly
from tfqkd.core.quantizer import State

CENTROIDS = "centroids"
_ROUNDS = 100


@dataclasses.dataclass(frozen=True)
class ClusteredQuantizer(AroundQuantizer):
    """Puts each weight at the nearest of k centroids, and lets another quantizer quantize those.

    `c(w) = c_j`, `j = argmin |w - c_j|`; the gradient passes straight through to w. At every training step a
    centroid becomes the mean of its weights, so that it moves as the mean of their gradients says. One
    centroid is zero and stays, so that zeros of a mask stay zeros. The others start evenly between the least
    and the largest weight (section 3.2 found this best), and from where k-means leads them.

    Args:
        quantizer: The other quantizer.
        clusters: k, 2 to 64.

    Raises:
        ValueError: If `clusters` is none of these.
    """

    clusters: int = 16

    def __post_init__(self) -> None:
        if not 2 <= self.clusters <= 64:
            raise ValueError(
                f"`clusters` must be 2 to 64. Received: clusters={self.clusters}. For example 16."
            )

    @property
    def followed(self) -> tuple[str, ...]:
        """The centroids, and what follows the weights in the other."""
        return (CENTROIDS, *self.quantizer.followed)

    def initial_state(
        self, weights: Any, channel_axes: Sequence[int] = (-1,)
    ) -> dict[str, np.ndarray]:
        """Returns the centroids of the weights, and the state of the other for them."""
        weights = np.asarray(weights)
        centroids = first_centroids(weights, self.clusters)
        clustered = centroids[_nearest_of(weights, centroids)]
        return {**self.quantizer.initial_state(clustered, channel_axes), CENTROIDS: centroids}

    def updated(self, weights: Tensor, state: State, ops: Ops) -> dict[str, Tensor]:
        """Returns the means of the weights of each centroid; one without any stays."""
        centroids = state[CENTROIDS]
        flat = ops.reshape(weights, (-1,))
        nearest = _nearest(flat, centroids, ops)
        own = ops.cast(
            ops.equal(ops.reshape(nearest, (-1, 1)), ops.arange(self.clusters, "int32")), "float32"
        )
        counts, sums = ops.sum(own, axis=0), ops.sum(own * ops.reshape(flat, (-1, 1)), axis=0)
        means = ops.where(counts > 0, ops.divide_no_nan(sums, counts), centroids)
        moved = ops.where(ops.equal(centroids, 0.0), 0.0, means)
        clustered = _clustered(weights, moved, ops)
        return {**self.quantizer.updated(clustered, state, ops), CENTROIDS: moved}

    def quantize(self, weights: Tensor, state: State, ops: Ops) -> Tensor:
        """Returns `Q(c(w))`."""
        clustered = _clustered(weights, state[CENTROIDS], ops)
        return self.quantizer.quantize(exactly(clustered, weights, ops), state, ops)

    def scales(self, weights: Tensor, state: State, ops: Ops) -> Tensor:
        """Returns those of the other."""
        return self.quantizer.scales(_clustered(weights, state[CENTROIDS], ops), state, ops)

    def restored(self, weights: Tensor, state: State, ops: Ops) -> Tensor:
        """Returns what the other restores."""
        return self.quantizer.restored(weights, state, ops)


def first_centroids(weights: np.ndarray, clusters: int) -> np.ndarray:
    """Returns k rising centroids of the weights, float32 `[k]`, one of them zero.

    Args:
        weights: Of a kernel.
        clusters: k.
    """
    values = np.asarray(weights, np.float64).ravel()
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    if low == high:
        high = 1.0
    centroids = np.linspace(low, high, clusters)
    zero = int(np.argmin(np.abs(centroids)))
    centroids[zero] = 0.0
    for _ in range(_ROUNDS):
        nearest = _nearest_of(values, centroids)
        counts = np.bincount(nearest, minlength=clusters)
        sums = np.bincount(nearest, values, clusters)
        moved = np.where(counts > 0, sums / np.maximum(counts, 1), centroids)
        moved[zero] = 0.0
        if np.array_equal(moved, centroids):
            break
        centroids = moved
    return centroids.astype(np.float32)


def _nearest_of(values: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    return np.argmin(np.abs(values[..., None] - centroids), axis=-1)


def _nearest(flat: Tensor, centroids: Tensor, ops: Ops) -> Tensor:
    distances = ops.abs(ops.reshape(flat, (-1, 1)) - centroids)
    return ops.cast(ops.argmax(-distances, axis=-1), "int32")


def _clustered(weights: Tensor, centroids: Tensor, ops: Ops) -> Tensor:
    # A state may be a variable, which Keras' take_along_axis does not take on TensorFlow; behind a reshape it
    # is none.
    centroids = ops.reshape(centroids, (-1,))
    nearest = _nearest(ops.reshape(weights, (-1,)), centroids, ops)
    return ops.reshape(ops.take_along_axis(centroids, nearest, axis=-1), ops.shape(weights))


AROUND[ClusteredQuantizer.__name__] = ClusteredQuantizer
