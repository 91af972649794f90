"""PACT (arXiv 1805.06085): activations clipped at a learned value."""

from tfqkd.core.ops import Ops, Tensor, exactly, ops_of
from tfqkd.core.steps import largest_code


def pact_levels(bits: int, signed: bool = False) -> int:
    """Returns how many steps are between 0 and the clipping value: `2^b - 1`, signed `2^(b-1) - 1`.

    Raises:
        ValueError: If `bits` is not 2 to 8.
    """
    largest = largest_code(bits)
    return largest if signed else 2 * largest + 1


def pact(
    values: Tensor, clip: Tensor, bits: int, signed: bool = False, ops: Ops | None = None
) -> Tensor:
    """Returns `round(y·n/α)·α/n` with `y = clip(x, 0, α)`, `n = 2^b - 1` (arXiv 1805.06085, eq. 1, 2).

    Gradient (equation 3): `∂/∂x = 1` where `0 < x < α`, else 0; `∂/∂α = 1` where `x ≥ α`, else 0. The paper
    knows inputs after a ReLU only. For signed ones it is continued as an odd function: `y = clip(x, -α, α)`,
    `n = 2^(b-1) - 1`, `∂/∂α = -1` where `x ≤ -α`.

    Args:
        values: Activations, any shape, float.
        clip: `α > 0`, a scalar.
        bits: 2 to 8.
        signed: Whether values may be negative.
        ops: The functions to compute with; by default those of the values' framework.

    Returns:
        Dtype and shape of `values`: integers times the step `α/n`.
    """
    ops = ops or ops_of(values)
    levels = pact_levels(bits, signed)
    step = clip / levels
    codes = ops.round(ops.clip(values / step, -levels if signed else 0, levels))
    inside = ops.logical_and(values > (-clip if signed else 0.0), values < clip)
    over = ops.cast(values >= clip, values.dtype)
    side = over - ops.cast(values <= -clip, values.dtype) if signed else over
    return exactly(codes * step, ops.where(inside, values, 0.0) + clip * side, ops)
