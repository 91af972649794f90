"""Learned step size quantization, LSQ (arXiv 1902.08153): weights and activations, in plain TensorFlow."""

from collections.abc import Sequence

import tensorflow as tf

from tfqkd.quantization.arithmetic import largest_code

SMALLEST_STEP = 1e-8
"""Steps are kept above it: a step that training drives through zero would swap the signs of all codes."""


def code_range(bits: int, signed: bool = True) -> tuple[int, int]:
    """Returns the least and the largest code, `-Q_N` and `Q_P` (arXiv 1902.08153, section 2).

    Signed: `-2^(b-1)` and `2^(b-1) - 1`; unsigned: 0 and `2^b - 1`.

    Raises:
        ValueError: If `bits` is not 2 to 8.
    """
    largest = largest_code(bits)
    return (-largest - 1, largest) if signed else (0, 2 * largest + 1)


def lsq(
    values: tf.Tensor, step: tf.Tensor, lower: int, upper: int, gradient_scale: tf.Tensor | float
) -> tf.Tensor:
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

    Returns:
        The quantized values: dtype and shape of `values`, each exactly `s` times its code.
    """

    @tf.custom_gradient
    def learned(v: tf.Tensor, s: tf.Tensor) -> tuple:
        ratio = v / s
        code = tf.round(tf.clip_by_value(ratio, lower, upper))

        def gradient(upstream: tf.Tensor) -> tuple:
            inside = tf.logical_and(ratio > lower, ratio < upper)
            by_step = upstream * tf.where(inside, code - ratio, code)
            return (
                tf.where(inside, upstream, tf.zeros_like(upstream)),
                gradient_scale * _sum_to(by_step, s),
            )

        return code * s, gradient

    return learned(values, step)


def gradient_scale(count: int | tf.Tensor, upper: int) -> tf.Tensor:
    """Returns `g = 1/sqrt(N · Q_P)` (arXiv 1902.08153, section 2.2).

    It brings the relative size of a step's updates to that of the weights'.

    Args:
        count: `N`: weights that share the step, or activations in one example.
        upper: `Q_P`.
    """
    return tf.math.rsqrt(tf.cast(count, tf.float32) * float(upper))


def initial_step(
    values: tf.Tensor, upper: int, channel_axes: Sequence[int] | None = None
) -> tf.Tensor:
    """Returns LSQ's first step, `2·E|v|/sqrt(Q_P)` (arXiv 1902.08153, section 2.1).

    Args:
        values: Weights, or activations of the first batch; float.
        upper: `Q_P`.
        channel_axes: Axes that keep a step of their own; None for one per tensor.

    Returns:
        The step, of shape 1 on all but `channel_axes`, at least `SMALLEST_STEP`.
    """
    shared = [axis for axis in range(len(values.shape)) if axis not in (channel_axes or ())]
    mean = tf.reduce_mean(tf.abs(values), shared, keepdims=True)
    return tf.maximum(2 * mean / upper**0.5, SMALLEST_STEP)


def _sum_to(gradient: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    """Sums over the axes that share a step."""
    if step.shape.num_elements() == 1:
        return tf.reshape(tf.reduce_sum(gradient), step.shape)
    axes = [axis for axis, size in enumerate(step.shape) if size == 1]
    return tf.reduce_sum(gradient, axes, keepdims=True)
