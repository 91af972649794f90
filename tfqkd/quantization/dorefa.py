"""DoReFa-Net's quantizers of weights and of gradients (arXiv 1606.06160), in plain TensorFlow."""

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


def round_gradient(values: tf.Tensor, bits: int, seed: tf.Tensor) -> tf.Tensor:
    """Returns `values` as they are; their gradient is rounded stochastically (arXiv 1606.06160, equation 12).

    With `m` the largest `|g|` of the example, `n = 2^b - 1` and `σ` uniform in [-1/2, 1/2]:

        ∂/∂x = 2m · (quantize_b(g/2m + 1/2 + σ/n) - 1/2)

    clipped to [-m, m]. Rounding to nearest behind the noise is stochastic rounding: between the outermost
    levels the expected value is `g`.

    Args:
        values: The output of a layer, [N, ...], float.
        bits: 2 to 8.
        seed: Two integers that decide the noise; another pair at every step.
    """
    levels = level_count(bits)

    @tf.custom_gradient
    def identity(x: tf.Tensor) -> tuple:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            exact = tf.cast(upstream, tf.float32)
            axes = list(range(1, len(exact.shape)))
            twice = 2 * tf.reduce_max(tf.abs(exact), axes, keepdims=True)
            noise = tf.random.stateless_uniform(tf.shape(exact), seed, -0.5, 0.5)
            place = levels * (tf.math.divide_no_nan(exact, twice) + 0.5) + noise
            unit = tf.round(tf.clip_by_value(place, 0.0, float(levels))) / levels
            return tf.cast(twice * (unit - 0.5), upstream.dtype)

        return tf.identity(x), gradient

    return identity(values)
