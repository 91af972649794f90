"""Ternary rules beside the L2-optimal one: TWN's threshold, BitNet's mean and TTQ's two trained scales.

Thresholds and scales are scalars, one for a layer's weights, as published.
"""

from tfqkd.core import uniform
from tfqkd.core.ops import Ops, Tensor, exactly, ops_of
from tfqkd.core.steps import TTQ_FACTOR, TWN_FACTOR


def twn_threshold(weights: Tensor, ops: Ops | None = None) -> Tensor:
    """Returns TWN's threshold `0.7 · E|w|` (arXiv 1605.04711, equation 6), a scalar."""
    ops = ops or ops_of(weights)
    return TWN_FACTOR * ops.mean(ops.abs(weights))


def twn_scale(weights: Tensor, threshold: Tensor, ops: Ops | None = None) -> Tensor:
    """Returns the best scale for a threshold: the mean `|w|` above it (arXiv 1605.04711, equation 5).

    Args:
        weights: Latent weights, any shape, float.
        threshold: `Δ ≥ 0`, a scalar.
        ops: The functions to compute with; by default those of the weights' framework.

    Returns:
        The scale, a scalar; zero where no weight is above the threshold.
    """
    ops = ops or ops_of(weights)
    kept = ops.cast(ops.abs(weights) > threshold, weights.dtype)
    return ops.divide_no_nan(ops.sum(ops.abs(weights) * kept), ops.sum(kept))


def twn(weights: Tensor, ops: Ops | None = None) -> Tensor:
    """Returns TWN's weights: α·sign(w) where `|w| > Δ`, else 0, with the straight-through gradient.

    Δ is `twn_threshold`, α is `twn_scale`; both follow the weights. Gradient: `∂Q/∂w = 1`, and none through
    Δ and α (arXiv 1605.04711, section 3).

    Args:
        weights: Latent weights, any shape, float.
        ops: The functions to compute with; by default those of the weights' framework.
    """
    ops = ops or ops_of(weights)
    threshold = twn_threshold(weights, ops)
    scale = twn_scale(weights, threshold, ops)
    kept = ops.cast(ops.abs(weights) > threshold, weights.dtype)
    return exactly(scale * (ops.sign(weights) * kept), weights, ops)


def absmean_scale(weights: Tensor, ops: Ops | None = None) -> Tensor:
    """Returns BitNet b1.58's scale `γ = E|w|` (arXiv 2402.17764, equation 3), a scalar."""
    ops = ops or ops_of(weights)
    return ops.mean(ops.abs(weights))


def absmean(weights: Tensor, ops: Ops | None = None) -> Tensor:
    """Returns BitNet b1.58's weights: γ·sign(w) where `|w| ≥ γ/2`, else 0.

    γ is `absmean_scale` and follows the weights (arXiv 2402.17764, equations 1 to 3, without their ε).
    Gradient: `∂Q/∂w = 1`, the straight-through estimator, and none through γ. That is the uniform ternary
    quantizer with γ as its step, which is smaller than the L2-optimal one: more weights are kept, at a
    smaller value.

    Args:
        weights: Latent weights, any shape, float.
        ops: The functions to compute with; by default those of the weights' framework.
    """
    ops = ops or ops_of(weights)
    return uniform.quantize(weights, absmean_scale(weights, ops), 2, ops)


def ttq_threshold(weights: Tensor, ops: Ops | None = None) -> Tensor:
    """Returns TTQ's threshold `0.05 · max|w|` (arXiv 1612.01064), a scalar."""
    ops = ops or ops_of(weights)
    return TTQ_FACTOR * ops.max(ops.abs(weights))


def ttq(
    weights: Tensor,
    threshold: Tensor,
    positive: Tensor,
    negative: Tensor,
    ops: Ops | None = None,
) -> Tensor:
    """Returns trained ternary weights: `Wp` where `w > Δ`, `-Wn` where `w < -Δ`, else 0 (arXiv 1612.01064).

    Gradient, with `g` the gradient by the ternary weights:

        ∂/∂Wp = Σ g over w > Δ        ∂/∂Wn = -Σ g over w < -Δ
        ∂/∂w  = Wp·g, g or Wn·g where w > Δ, |w| ≤ Δ or w < -Δ

    The paper writes `∂/∂Wn` without the minus sign, which belongs to the derivative of `-Wn`. None flows to
    the threshold.

    Args:
        weights: Latent weights, any shape, float.
        threshold: `Δ ≥ 0`, a scalar.
        positive: `Wp`, a scalar.
        negative: `Wn`, a scalar.
        ops: The functions to compute with; by default those of the weights' framework.
    """
    ops = ops or ops_of(weights)
    above = ops.cast(weights > threshold, weights.dtype)
    below = ops.cast(weights < -threshold, weights.dtype)
    slope = ops.stop_gradient(positive * above + negative * below + (1 - above - below))
    by_scales = positive * above - negative * below
    return exactly(by_scales, weights * slope + by_scales, ops)
