"""Pruning: a mask that holds the smallest weights of a kernel at exactly zero."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfqkd.core.composite import AROUND, AroundQuantizer
from tfqkd.core.ops import Ops, Tensor
from tfqkd.core.quantizer import State
from tfqkd.core.quantizers import DorefaQuantizer

MASK = "mask"


@dataclasses.dataclass(frozen=True)
class PrunedQuantizer(AroundQuantizer):
    """Quantizes `m·w`, with a mask `m` of zeros and ones, by another quantizer, whose zero stays zero.

    Of n weights the mask leaves the `max(1, n - round(s·n))` of largest magnitude, at sparsity s. What it has
    taken out stays out: it has no gradient, and is put back to zero in every training step, whatever momentum
    and decay do. A callback or method may raise the sparsity between epochs (`at_sparsity`). Depthwise
    kernels, which have several channel axes and few weights, keep all.

    Args:
        quantizer: The other quantizer; not `DorefaQuantizer`, which has no zero.
        sparsity: s at first, in [0, 1).

    Raises:
        ValueError: If a setting is none of these.
    """

    sparsity: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.sparsity < 1:
            raise ValueError(
                f"`sparsity` must be in [0, 1). Received: sparsity={self.sparsity}. For example 0.5."
            )
        if isinstance(self.innermost, DorefaQuantizer):
            raise ValueError(
                "Pruned weights must have a quantizer that has zero. Received: DorefaQuantizer, whose "
                "levels are odd. Choose another one, such as uniform."
            )

    @property
    def rests(self) -> bool:  # type: ignore[override]
        """Yes: at zero."""
        return True

    def initial_state(
        self, weights: Any, channel_axes: Sequence[int] = (-1,)
    ) -> dict[str, np.ndarray]:
        """Returns the mask of the first sparsity, and the state of the other for what it leaves."""
        weights = np.asarray(weights)
        mask = np.ones(weights.shape, np.float32)
        if len(channel_axes) == 1:
            mask = masked(weights, mask, self.sparsity)
        state = self.quantizer.initial_state(np.where(mask > 0, weights, 0), channel_axes)
        return {**state, MASK: mask}

    def restored(self, weights: Tensor, state: State, ops: Ops) -> Tensor:
        """Returns `m·w`."""
        return ops.where(state[MASK] > 0, self.quantizer.restored(weights, state, ops), 0.0)

    def updated(self, weights: Tensor, state: State, ops: Ops) -> dict[str, Tensor]:
        """Returns what follows `m·w` in the other."""
        return self.quantizer.updated(self.restored(weights, state, ops), state, ops)

    def quantize(self, weights: Tensor, state: State, ops: Ops) -> Tensor:
        """Returns `Q(m·w)`."""
        return self.quantizer.quantize(self.restored(weights, state, ops), state, ops)

    def scales(self, weights: Tensor, state: State, ops: Ops) -> Tensor:
        """Returns those of the other."""
        return self.quantizer.scales(self.restored(weights, state, ops), state, ops)

    def at_sparsity(
        self, sparsity: float, weights: Any, state: State, channel_axes: Sequence[int]
    ) -> dict[str, np.ndarray]:
        """Returns what to assign to the state for a higher sparsity.

        A step that is taken once is taken again, from what is left; what is learned or follows stays.

        Args:
            sparsity: s, in [0, 1).
            weights: The latent weights, an array or what becomes one.
            state: The state, of arrays or what becomes them.
            channel_axes: As for `initial_state`.
        """
        weights, before = np.asarray(weights), np.asarray(state[MASK])
        mask = masked(weights, before, sparsity)
        if len(channel_axes) > 1 or np.array_equal(mask, before):
            return {}
        first = self.quantizer.initial_state(np.where(mask > 0, weights, 0), channel_axes)
        moving = {*self.learned, *self.followed}
        return {MASK: mask, **{key: value for key, value in first.items() if key not in moving}}


def masked(weights: np.ndarray, mask: np.ndarray, sparsity: float) -> np.ndarray:
    """Returns the mask of a sparsity, in which what the given one has taken out stays out.

    Args:
        weights: Of a kernel.
        mask: Zeros and ones, float32, of the same shape.
        sparsity: s, in [0, 1).
    """
    count = min(round(sparsity * weights.size), weights.size - 1)
    order = np.lexsort((np.abs(weights).ravel(), mask.ravel()))
    found = mask.ravel().copy()
    found[order[:count]] = 0
    return found.reshape(mask.shape)


AROUND[PrunedQuantizer.__name__] = PrunedQuantizer
