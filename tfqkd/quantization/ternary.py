"""Ternary rules beside the L2-optimal one: TWN's threshold and TTQ's two trained scales, in plain TensorFlow.

Thresholds and scales are scalars, one for a layer's weights, as published.
"""

import tensorflow as tf

TWN_FACTOR = 0.7
"""Of the mean magnitude: TWN's threshold (arXiv 1605.04711, equation 6: about 0.75 for Gaussian, 2/3 for
uniform weights)."""

TTQ_FACTOR = 0.05
"""Of the largest magnitude: TTQ's threshold (arXiv 1612.01064, its factor for CIFAR-10 and ImageNet)."""


def twn_threshold(weights: tf.Tensor) -> tf.Tensor:
    """Returns TWN's threshold `0.7 · E|w|` (arXiv 1605.04711, equation 6), a scalar."""
    return TWN_FACTOR * tf.reduce_mean(tf.abs(weights))


def twn_scale(weights: tf.Tensor, threshold: tf.Tensor) -> tf.Tensor:
    """Returns the best scale for a threshold: the mean `|w|` above it (arXiv 1605.04711, equation 5).

    Args:
        weights: Latent weights, any shape, float.
        threshold: `Δ ≥ 0`, a scalar.

    Returns:
        The scale, a scalar; zero where no weight is above the threshold.
    """
    kept = tf.cast(tf.abs(weights) > threshold, weights.dtype)
    return tf.math.divide_no_nan(tf.reduce_sum(tf.abs(weights) * kept), tf.reduce_sum(kept))


def twn(weights: tf.Tensor) -> tf.Tensor:
    """Returns TWN's weights: α·sign(w) where `|w| > Δ`, else 0, with the straight-through gradient.

    Δ is `twn_threshold`, α is `twn_scale`; both follow the weights. Gradient: `∂Q/∂w = 1`, and none through
    Δ and α (arXiv 1605.04711, section 3).

    Args:
        weights: Latent weights, any shape, float.
    """

    @tf.custom_gradient
    def straight_through(latent: tf.Tensor) -> tuple:
        threshold = twn_threshold(latent)
        scale = twn_scale(latent, threshold)
        kept = tf.cast(tf.abs(latent) > threshold, latent.dtype)
        return scale * (tf.sign(latent) * kept), lambda upstream: upstream

    return straight_through(weights)


def ttq_threshold(weights: tf.Tensor) -> tf.Tensor:
    """Returns TTQ's threshold `0.05 · max|w|` (arXiv 1612.01064), a scalar."""
    return TTQ_FACTOR * tf.reduce_max(tf.abs(weights))


def ttq(
    weights: tf.Tensor, threshold: tf.Tensor, positive: tf.Tensor, negative: tf.Tensor
) -> tf.Tensor:
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
    """

    @tf.custom_gradient
    def trained(latent: tf.Tensor, wp: tf.Tensor, wn: tf.Tensor) -> tuple:
        above = tf.cast(latent > threshold, latent.dtype)
        below = tf.cast(latent < -threshold, latent.dtype)

        def gradient(upstream: tf.Tensor) -> tuple:
            return (
                upstream * (wp * above + wn * below + (1 - above - below)),
                tf.reduce_sum(upstream * above),
                -tf.reduce_sum(upstream * below),
            )

        return wp * above - wn * below, gradient

    return trained(weights, positive, negative)
