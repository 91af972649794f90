"""Uniform symmetric weights, ternary among them (arXiv 1909.01688): what a training step computes.

Notation as in `steps`: latent weights `w`, step `Δ`, `b` bits, largest code `L = 2^(b-1) - 1`.
"""

import math

from tfqkd.core.ops import Ops, Tensor, exactly, ops_of
from tfqkd.core.steps import largest_code


def codes(weights: Tensor, step: Tensor, bits: int, ops: Ops | None = None) -> Tensor:
    """Returns the codes `sign(w) · min(⌊|w|/Δ + 1/2⌋, L)` (arXiv 1909.01688, section 2).

    Where the step is zero (all weights that share it are zero) the codes are zero.

    Args:
        weights: Latent weights, any shape, float.
        step: `Δ ≥ 0`, broadcastable to `weights`.
        bits: 2 to 8.
        ops: The functions to compute with; by default those of the weights' framework.

    Returns:
        Integers in -L..L, in the dtype and shape of `weights`.
    """
    ops = ops or ops_of(weights)
    largest = largest_code(bits)
    magnitude = ops.divide_no_nan(ops.abs(weights), step)
    return ops.sign(weights) * ops.minimum(ops.floor(magnitude + 0.5), float(largest))


def quantize(weights: Tensor, step: Tensor, bits: int, ops: Ops | None = None) -> Tensor:
    """Returns `Q(w) = Δ · codes(w)`, with the straight-through gradient.

    Gradient: `∂Q/∂w = 1` everywhere (the straight-through estimator, arXiv 1308.3432), also for clipped
    weights, so that a latent weight can always come back; none flows to the step, which follows the
    weights in closed form.

    Args:
        weights: Latent weights, any shape, float.
        step: `Δ ≥ 0`, broadcastable to `weights`.
        bits: 2 to 8.
        ops: The functions to compute with; by default those of the weights' framework.

    Returns:
        The quantized weights: dtype and shape of `weights`, each exactly `Δ` times its code.
    """
    ops = ops or ops_of(weights)
    return exactly(step * codes(weights, step, bits, ops), weights, ops)


def follow_step(weights: Tensor, step: Tensor, bits: int, ops: Ops | None = None) -> Tensor:
    """Returns the step for weights that moved a little since `step` was best for them.

    Ternary: the global optimum (see `steps.optimal_step`), whatever `step` is. More levels: two rounds of
    Lloyd's algorithm from `step` (codes for the step, then `Δ = A/B` for the codes); each lowers the error.
    A step that is zero stays zero above two bits.

    Args:
        weights: Latent weights, any shape, float.
        step: The last step, with the rank of `weights`; its shape tells which axes have their own.
        bits: 2 to 8.
        ops: The functions to compute with; by default those of the weights' framework.

    Returns:
        The new step, with the shape and dtype of `step`.
    """
    ops = ops or ops_of(weights)
    shared = tuple(axis for axis, size in enumerate(step.shape) if size == 1)
    if largest_code(bits) == 1:
        return _optimal_ternary_step(weights, step, shared, ops)
    for _ in range(2):
        code = codes(weights, step, bits, ops)
        step = ops.divide_no_nan(
            ops.sum(weights * code, axis=shared, keepdims=True),
            ops.sum(code * code, axis=shared, keepdims=True),
        )
    return step


def _optimal_ternary_step(
    weights: Tensor, step: Tensor, shared: tuple[int, ...], ops: Ops
) -> Tensor:
    """The mean of the k largest `|w|` of each row that shares a step, k maximising `(Σ_k |w|)²/k`."""
    own = tuple(axis for axis in range(len(step.shape)) if axis not in shared)
    count = math.prod(step.shape[axis] for axis in own)
    rows = ops.reshape(ops.transpose(weights, own + shared), (count, -1))
    magnitudes = ops.cast(ops.abs(rows), ops.accurate)
    sums = ops.cumsum(-ops.sort(-magnitudes, axis=1), axis=1)
    counts = ops.arange(ops.shape(sums)[1], dtype=ops.accurate) + 1
    best = ops.argmax(sums * sums / counts, axis=1)
    steps = ops.take_along_axis(sums / counts, ops.reshape(best, (-1, 1)), axis=1)
    return ops.cast(ops.reshape(steps, step.shape), step.dtype)
