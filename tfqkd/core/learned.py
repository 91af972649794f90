"""Learned step size quantization, LSQ (arXiv 1902.08153), of weights and activations."""

from tfqkd.core.ops import Ops, Tensor, exactly, ops_of
from tfqkd.core.steps import largest_code


def code_range(bits: int, signed: bool = True) -> tuple[int, int]:
    """Returns the least and the largest code, `-Q_N` and `Q_P` (arXiv 1902.08153, section 2).

    Signed: `-2^(b-1)` and `2^(b-1) - 1`; unsigned: 0 and `2^b - 1`.

    Raises:
        ValueError: If `bits` is not 2 to 8.
    """
    largest = largest_code(bits)
    return (-largest - 1, largest) if signed else (0, 2 * largest + 1)


def lsq(
    values: Tensor,
    step: Tensor,
    lower: int,
    upper: int,
    gradient_scale: Tensor | float,
    ops: Ops | None = None,
) -> Tensor:
    """Returns `s · round(clip(v/s, -Q_N, Q_P))` (arXiv 1902.08153, equations 1 and 2); halves go to even.

    Gradient (equations 3 and 5), with `g` the gradient scale:

        ∂/∂v = 1 where -Q_N < v/s < Q_P, else 0
        ∂/∂s = g · (round(v/s) - v/s, or -Q_N where v/s ≤ -Q_N, or Q_P where v/s ≥ Q_P)

    Args:
        values: Weights or activations `v`, any shape, float.
        step: `s > 0`, of one element, or with the rank of `values` and size 1 on every axis that shares it.
        lower: `-Q_N`, the least code.
        upper: `Q_P`, the largest code.
        gradient_scale: `g` (see `gradient_scale`).
        ops: The functions to compute with; by default those of the values' framework.

    Returns:
        The quantized values: dtype and shape of `values`, each exactly `s` times its code.
    """
    ops = ops or ops_of(values)
    ratio = values / step
    code = ops.round(ops.clip(ratio, lower, upper))
    inside = ops.logical_and(ratio > lower, ratio < upper)
    by_step = ops.stop_gradient(ops.where(inside, code - ratio, code))
    # Scaled as one number a step, after the sum over those that share it.
    scaled = exactly(step, gradient_scale * step, ops)
    surrogate = ops.where(inside, values, 0.0) + by_step * scaled
    return exactly(code * step, surrogate, ops)


def gradient_scale(count: int | Tensor, upper: int, ops: Ops) -> Tensor:
    """Returns `g = 1/sqrt(N · Q_P)` (arXiv 1902.08153, section 2.2), float32.

    It brings the relative size of a step's updates to that of the weights'.

    Args:
        count: `N`: weights that share the step, or activations in one example.
        upper: `Q_P`.
        ops: The functions to compute with.
    """
    return ops.rsqrt(ops.cast(count, "float32") * float(upper))
