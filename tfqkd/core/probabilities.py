"""What the soft losses compare probabilities by: their parts, their correlation, the angle between them."""

import numpy as np

from tfqkd.core.ops import Ops, Tensor

_LOWEST = float(np.finfo(np.float32).min)


def decoupled(logits: Tensor, label: Tensor, ops: Ops) -> tuple[Tensor, Tensor, Tensor]:
    """Returns log p of the label, log p of all others together, and log p of each among the others."""
    total = ops.logsumexp(logits, axis=-1)
    own = ops.sum(ops.where(label, logits, 0.0), axis=-1)
    others = ops.logsumexp(ops.where(label, _LOWEST, logits), axis=-1)
    among = ops.where(label, 0.0, logits - others[..., None])
    return own - total, others - total, among


def divergence(log_p: Tensor, log_q: Tensor, ops: Ops) -> Tensor:
    """Returns p·(log p - log q)."""
    return ops.exp(log_p) * (log_p - log_q)


def uncorrelated(one: Tensor, other: Tensor, axis: int, ops: Ops) -> Tensor:
    """Returns 1 - ρ of the probabilities along an axis."""
    one, other = _centred(one, axis, ops), _centred(other, axis, ops)
    flat = [ops.equal(ops.max(ops.abs(each), axis=axis), 0.0) for each in (one, other)]
    return ops.where(ops.equal(*flat), apart(one, other, axis, ops), 1.0)


def _centred(probabilities: Tensor, axis: int, ops: Ops) -> Tensor:
    """Probabilities without their mean; all zero where they deviate by no more than rounding makes them."""
    centred = probabilities - ops.mean(probabilities, axis=axis, keepdims=True)
    largest = ops.max(probabilities, axis=axis, keepdims=True)
    deviates = ops.max(ops.abs(centred), axis=axis, keepdims=True) > 1e-6 * largest + 1e-30
    return ops.where(deviates, centred, 0.0)


def apart(one: Tensor, other: Tensor, axis: int, ops: Ops) -> Tensor:
    """Returns 1 - cos of the angle between vectors along an axis: 0 at a match and never below."""
    return ops.sum((unit(one, axis, ops) - unit(other, axis, ops)) ** 2, axis=axis) / 2


def unit(vectors: Tensor, axis: int, ops: Ops) -> Tensor:
    """Returns vectors of length 1 along an axis, or zero where they are."""
    # Their squares would vanish in float32. The direction does not depend on what divides them.
    largest = ops.stop_gradient(ops.max(ops.abs(vectors), axis=axis, keepdims=True))
    vectors = vectors / ops.where(largest > 0, largest, 1.0)
    squares = ops.sum(vectors**2, axis=axis, keepdims=True)
    return vectors / ops.sqrt(ops.where(squares > 0, squares, 1.0))
