"""The arithmetic of uniform symmetric weight quantization, in plain TensorFlow ops.

Notation: `w` is a latent (float) weight, `Δ` the step, `b` the number of bits and `L = 2^(b-1) - 1` the
largest code, so that there are `M = 2L + 1` levels; `b = 2` is ternary. Every function works on float32
or float64, eagerly, in a `tf.function` and under XLA, but for `optimal_step` above two bits, whose result
is computed with shapes that depend on the data and which XLA therefore cannot compile.

A step has the rank of its weights, with size 1 on every axis that shares it: `[1, 1, 1, 1]` for one step
per tensor, `[1, 1, 1, C]` for one per output channel of a convolution.
"""

from collections.abc import Sequence

import tensorflow as tf

MIN_BITS, MAX_BITS = 2, 8


def largest_code(bits: int) -> int:
    """Returns `L = 2^(bits-1) - 1`, the largest code of a symmetric quantizer.

    Raises:
        ValueError: If `bits` is not an integer from 2 to 8.
    """
    if isinstance(bits, bool) or not isinstance(bits, int) or not MIN_BITS <= bits <= MAX_BITS:
        raise ValueError(
            f"`bits` must be an integer from {MIN_BITS} to {MAX_BITS}. Received: bits={bits!r}. "
            "Use 2 for ternary weights; leave a layer out of the policy to keep it float."
        )
    return 2 ** (bits - 1) - 1


def codes(weights: tf.Tensor, step: tf.Tensor, bits: int) -> tf.Tensor:
    """Returns the codes `sign(w) · min(⌊|w|/Δ + 1/2⌋, L)` (arXiv 1909.01688, section 2).

    Where the step is zero (all weights that share it are zero) the codes are zero.

    Args:
        weights: Latent weights, any shape, float.
        step: `Δ ≥ 0`, broadcastable to `weights`.
        bits: 2 to 8.

    Returns:
        Integers in -L..L, in the dtype and shape of `weights`.
    """
    magnitude = tf.math.divide_no_nan(tf.abs(weights), step)
    return tf.sign(weights) * tf.minimum(
        tf.floor(magnitude + 0.5), tf.cast(largest_code(bits), weights.dtype)
    )


def quantize(weights: tf.Tensor, step: tf.Tensor, bits: int) -> tf.Tensor:
    """Returns `Q(w) = Δ · codes(w)`, with the straight-through gradient.

    Gradient: `∂Q/∂w = 1` everywhere (the straight-through estimator, arXiv 1308.3432), also for clipped
    weights, so that a latent weight can always come back; none flows to the step, which follows the
    weights in closed form.

    Args:
        weights: Latent weights, any shape, float.
        step: `Δ ≥ 0`, broadcastable to `weights`.
        bits: 2 to 8.

    Returns:
        The quantized weights: dtype and shape of `weights`, each exactly `Δ` times its code.
    """

    # Not w + stop_gradient(Q(w) - w): that rounds, and Q(w) would not be exactly Δ times a code.
    @tf.custom_gradient
    def straight_through(latent: tf.Tensor) -> tuple:
        return step * codes(latent, step, bits), lambda upstream: upstream

    return straight_through(weights)


def optimal_step(
    weights: tf.Tensor, bits: int, channel_axes: Sequence[int] | None = None
) -> tf.Tensor:
    """Returns the step that minimises `Σ (w - Q(w; Δ))²`: the global optimum, not a local one.

    For given codes `q` the best step is `A/B` with `A = Σ|w|·|q|` and `B = Σ q²`, and it removes `A²/B`
    of the energy `Σ w²`. As `Δ` falls, the code of `w` goes from `k - 1` to `k` at the breakpoint
    `|w|/(k - 1/2)`: one pass over the breakpoints in falling order visits every assignment of codes that
    any step can give, and updates `A` by `|w|` and `B` by `2k - 1`. For ternary weights this is the mean of
    the k largest `|w|`, k maximising `(Σ_k |w|)²/k`. For more levels a lower bound of the error first
    discards the steps that cannot be best.

    Args:
        weights: Latent weights, any shape, float.
        bits: 2 to 8.
        channel_axes: Axes that keep a step of their own; None for one step per tensor.

    Returns:
        `Δ`, in the dtype of `weights`, of shape 1 on all but `channel_axes`. Zero where all weights are.

    Raises:
        ValueError: If `bits` is not 2 to 8.
        tf.errors.InvalidArgumentError: If a weight is NaN or infinite.
    """
    weights = tf.debugging.assert_all_finite(
        tf.convert_to_tensor(weights),
        "The weights to quantize must be finite. Received a NaN or infinite weight. Train the float model "
        "until its loss is finite, or load other weights.",
    )
    magnitudes = _rows(weights, channel_axes)
    if largest_code(bits) == 1:
        steps = _ternary_steps(magnitudes)
    else:
        steps = _swept_steps(magnitudes, largest_code(bits))
    return tf.cast(tf.reshape(steps, step_shape(weights.shape, channel_axes)), weights.dtype)


def follow_step(weights: tf.Tensor, step: tf.Tensor, bits: int) -> tf.Tensor:
    """Returns the step for weights that moved a little since `step` was best for them.

    Ternary: the global optimum (see `optimal_step`), whatever `step` is. More levels: two rounds of
    Lloyd's algorithm from `step` (codes for the step, then `Δ = A/B` for the codes); each lowers the error.
    A step that is zero stays zero above two bits.

    Args:
        weights: Latent weights, any shape, float.
        step: The last step, with the rank of `weights`; its shape tells which axes have their own.
        bits: 2 to 8.

    Returns:
        The new step, with the shape and dtype of `step`.
    """
    axes = [axis for axis, size in enumerate(step.shape) if size != 1]
    if largest_code(bits) == 1:
        steps = _ternary_steps(_rows(weights, axes))
        return tf.cast(tf.reshape(steps, step.shape), step.dtype)
    shared = [axis for axis in range(len(step.shape)) if axis not in axes]
    for _ in range(2):
        code = codes(weights, step, bits)
        step = tf.math.divide_no_nan(
            tf.reduce_sum(weights * code, shared, keepdims=True),
            tf.reduce_sum(code * code, shared, keepdims=True),
        )
    return step


def step_shape(shape: Sequence[int], channel_axes: Sequence[int] | None) -> list[int]:
    """Returns the shape of the step of weights of `shape`: 1 on every axis but `channel_axes`."""
    return [size if axis in (channel_axes or ()) else 1 for axis, size in enumerate(shape)]


def _rows(weights: tf.Tensor, channel_axes: Sequence[int] | None) -> tf.Tensor:
    """|w| as a float64 matrix: a row for each step, in the order of the step's own shape."""
    axes = list(channel_axes or ())
    rest = [axis for axis in range(len(weights.shape)) if axis not in axes]
    count = 1
    for axis in axes:
        count *= weights.shape[axis]
    rows = tf.reshape(tf.transpose(weights, axes + rest), [count, -1])
    return tf.cast(tf.abs(rows), tf.float64)


def _ternary_steps(magnitudes: tf.Tensor) -> tf.Tensor:
    ordered = tf.sort(magnitudes, axis=1, direction="DESCENDING")
    sums = tf.cumsum(ordered, axis=1)
    counts = tf.range(1, tf.shape(sums)[1] + 1, dtype=tf.float64)
    best = tf.argmax(sums * sums / counts, axis=1)
    return tf.gather(sums / counts, best, batch_dims=1)


# Some thousand small ops: in a graph they take a tenth of the time.
@tf.function(reduce_retracing=True)
def _swept_steps(magnitudes: tf.Tensor, largest: int) -> tf.Tensor:
    return _sweep(magnitudes, *_bracket(magnitudes, largest), largest)


def _row_codes(magnitudes: tf.Tensor, steps: tf.Tensor, largest: int) -> tf.Tensor:
    return tf.minimum(
        tf.floor(tf.math.divide_no_nan(magnitudes, steps[:, None]) + 0.5), float(largest)
    )


def _bracket(magnitudes: tf.Tensor, largest: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Bounds `[rows]` below and above the best steps, tight enough to sweep between them.

    Any step between `a` and `b` puts the levels of code k into `[ka, kb]`, so the sum of the squared
    distances from the weights to these intervals bounds the error from below for a whole window of steps;
    windows whose bound exceeds the least error seen cannot hold the best step.
    """

    def bound_and_error(window: tf.Tensor) -> tf.Tensor:
        low, high = window[0, :, None], window[1, :, None]
        below = tf.minimum(tf.floor(tf.math.divide_no_nan(magnitudes, low)), float(largest))
        distance = tf.maximum(magnitudes - high * below, 0.0)
        next_level = tf.where(below < largest, low * (below + 1) - magnitudes, distance)
        bound = tf.reduce_sum(tf.minimum(distance, next_level) ** 2, axis=1)
        error = magnitudes - low * _row_codes(magnitudes, window[0], largest)
        return tf.stack([bound, tf.reduce_sum(error * error, axis=1)])

    # Above 2·max|w| all codes are zero. With the step max|w|/L no weight is clipped and the error is at most
    # half a step each; far below it, clipping alone costs more than that.
    high = 2 * tf.reduce_max(magnitudes, axis=1)
    norm = tf.norm(magnitudes, axis=1)
    reach = tf.sqrt(tf.cast(tf.shape(magnitudes)[1], tf.float64))
    low = tf.maximum(norm / reach - high / (4 * largest), high * 1e-6) / largest
    # A window costs one pass over the weights, a breakpoint left to sweep a dozen: few levels, few windows.
    for windows in (64, 64, 128) if largest > 15 else (32,):
        ratio = tf.math.divide_no_nan(high, low) ** (1 / windows)
        edges = low * ratio ** tf.range(windows + 1, dtype=tf.float64)[:, None]
        edges = tf.concat([edges[:-1], high[None]], axis=0)
        pairs = tf.stack([edges[:-1], edges[1:]], axis=1)
        bounds, errors = tf.unstack(tf.map_fn(bound_and_error, pairs), axis=1)
        alive = bounds <= tf.reduce_min(errors, axis=0) * (1 + 1e-9)
        low, high = (
            tf.reduce_min(tf.where(alive, edges[:-1], high), axis=0),
            tf.reduce_max(tf.where(alive, edges[1:], low), axis=0),
        )
    return low, high


def _sweep(magnitudes: tf.Tensor, low: tf.Tensor, high: tf.Tensor, largest: int) -> tf.Tensor:
    """The best step `[rows]` between `low` and `high`, by passing every breakpoint between them."""
    rows = tf.shape(magnitudes)[0]
    start = _row_codes(magnitudes, high, largest)
    passed = tf.cast(_row_codes(magnitudes, low, largest) - start, tf.int32)
    # One entry for each code change: the element's row, its magnitude, the code k that it reaches.
    element = tf.repeat(tf.range(tf.size(magnitudes)), tf.reshape(passed, [-1]))
    first = tf.gather(tf.cumsum(tf.reshape(passed, [-1]), exclusive=True), element)
    magnitude = tf.gather(tf.reshape(magnitudes, [-1]), element)
    reached = tf.gather(tf.reshape(start, [-1]), element) + tf.cast(
        tf.range(tf.size(element)) - first + 1, tf.float64
    )
    row = element // tf.shape(magnitudes)[1]

    order = tf.argsort(magnitude / (reached - 0.5), direction="DESCENDING")
    order = tf.gather(order, tf.argsort(tf.gather(row, order), stable=True))
    row = tf.gather(row, order)
    row_start = tf.searchsorted(row, tf.range(rows))

    def running(initial: tf.Tensor, increments: tf.Tensor) -> tf.Tensor:
        total = tf.concat([[0.0], tf.cumsum(tf.gather(increments, order))], axis=0)
        return tf.gather(initial - tf.gather(total, row_start), row) + total[1:]

    start_sum = tf.reduce_sum(magnitudes * start, axis=1)
    start_square = tf.reduce_sum(start * start, axis=1)
    sums = tf.concat([start_sum, running(start_sum, magnitude)], axis=0)
    squares = tf.concat([start_square, running(start_square, 2 * reached - 1)], axis=0)
    row = tf.concat([tf.range(rows), row], axis=0)

    gain = tf.math.divide_no_nan(sums * sums, squares)
    best = tf.math.unsorted_segment_max(gain, row, rows)
    steps = tf.math.divide_no_nan(sums, squares)
    return tf.math.unsorted_segment_max(
        tf.where(gain >= tf.gather(best, row), steps, 0.0), row, rows
    )
