"""PACT (arXiv 1805.06085): activations clipped at a learned value, in plain TensorFlow."""

import tensorflow as tf

from tfqkd.quantization.arithmetic import largest_code


def pact_levels(bits: int, signed: bool = False) -> int:
    """Returns how many steps lie between 0 and the clipping value: `2^b - 1`, signed `2^(b-1) - 1`.

    Raises:
        ValueError: If `bits` is not 2 to 8.
    """
    largest = largest_code(bits)
    return largest if signed else 2 * largest + 1


def pact(values: tf.Tensor, clip: tf.Tensor, bits: int, signed: bool = False) -> tf.Tensor:
    """Returns `round(y·n/α)·α/n` with `y = clip(x, 0, α)`, `n = 2^b - 1` (arXiv 1805.06085, eq. 1, 2).

    Gradient (equation 3): `∂/∂x = 1` where `0 < x < α`, else 0; `∂/∂α = 1` where `x ≥ α`, else 0. The paper
    knows inputs after a ReLU only. For signed ones it is continued as an odd function: `y = clip(x, -α, α)`,
    `n = 2^(b-1) - 1`, `∂/∂α = -1` where `x ≤ -α`.

    Args:
        values: Activations, any shape, float.
        clip: `α > 0`, a scalar.
        bits: 2 to 8.
        signed: Whether values may be negative.

    Returns:
        Dtype and shape of `values`: integers times the step `α/n`.
    """
    levels = pact_levels(bits, signed)

    @tf.custom_gradient
    def clipped(x: tf.Tensor, alpha: tf.Tensor) -> tuple:
        step = alpha / levels
        codes = tf.round(tf.clip_by_value(x / step, -levels if signed else 0, levels))

        def gradient(upstream: tf.Tensor) -> tuple:
            over = tf.cast(x >= alpha, x.dtype)
            under = tf.cast(x <= -alpha, x.dtype) if signed else 0.0
            outside = tf.cast(x <= (-alpha if signed else 0.0), x.dtype)
            return upstream * (1 - over - outside), tf.reduce_sum(upstream * (over - under))

        return codes * step, gradient

    return clipped(values, clip)
