"""DoReFa-Net's weight quantizer (arXiv 1606.06160), in plain TensorFlow."""

import tensorflow as tf

from tfqkd.quantization.arithmetic import largest_code


def level_count(bits: int) -> int:
    """Returns `n = 2^b - 1`: a weight takes the `n + 1` values `(2i - n)/n`, so that zero is none of them.

    Raises:
        ValueError: If `bits` is not 2 to 8.
    """
    return 2 * largest_code(bits) + 1


def dorefa(weights: tf.Tensor, bits: int) -> tf.Tensor:
    """Returns `2·quantize_b(tanh(w)/(2·max|tanh(w)|) + 1/2) - 1` (arXiv 1606.06160, equation 9).

    `quantize_b(x) = round(n·x)/n` with `n = 2^b - 1`. The values lie in [-1, 1] whatever the scale of the
    weights: a batch norm should follow. Gradient: straight through the rounding (equation 5), and the exact
    derivative of what stands around it, the maximum included.

    Args:
        weights: Latent weights, any shape, float.
        bits: 2 to 8.

    Returns:
        Odd integers from -n to n, divided by n: dtype and shape of `weights`.
    """
    levels = level_count(bits)
    squashed = tf.tanh(weights)
    normalized = tf.math.divide_no_nan(squashed, tf.reduce_max(tf.abs(squashed)))

    @tf.custom_gradient
    def straight_through(values: tf.Tensor) -> tuple:
        codes = 2 * tf.round(levels * (values / 2 + 0.5)) - levels
        return codes / levels, lambda upstream: upstream

    return straight_through(normalized)
