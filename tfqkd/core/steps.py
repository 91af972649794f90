"""What is taken once from trained weights: optimal steps, first steps and scales, in NumPy float64.

Notation: `w` is a latent (float) weight, `Δ` the step, `b` the number of bits and `L = 2^(b-1) - 1` the
largest code, so that there are `M = 2L + 1` levels; `b = 2` is ternary.

A step has the rank of its weights, with size 1 on every axis that shares it: `[1, 1, 1, 1]` for one step
per tensor, `[1, 1, 1, C]` for one per output channel of a convolution.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

MIN_BITS, MAX_BITS = 2, 8

SMALLEST_STEP = 1e-8
"""Learned steps are kept above it: one that training drives through zero would swap all codes' signs."""

TWN_FACTOR = 0.7
"""Of the mean magnitude: TWN's threshold (arXiv 1605.04711, equation 6: about 0.75 for Gaussian, 2/3 for
uniform weights)."""

TTQ_FACTOR = 0.05
"""Of the largest magnitude: TTQ's threshold (arXiv 1612.01064, its factor for CIFAR-10 and ImageNet)."""


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


def step_shape(shape: Sequence[int], channel_axes: Sequence[int] | None) -> list[int]:
    """Returns the shape of the step of weights of `shape`: 1 on every axis but `channel_axes`."""
    return [size if axis in (channel_axes or ()) else 1 for axis, size in enumerate(shape)]


def optimal_step(weights: Any, bits: int, channel_axes: Sequence[int] | None = None) -> np.ndarray:
    """Returns the step that minimises `Σ (w - Q(w; Δ))²`: the global optimum, not a local one.

    For given codes `q` the best step is `A/B` with `A = Σ|w|·|q|` and `B = Σ q²`, and it removes `A²/B`
    of the energy `Σ w²`. As `Δ` falls, the code of `w` goes from `k - 1` to `k` at the breakpoint
    `|w|/(k - 1/2)`: one pass over the breakpoints in falling order visits every assignment of codes that
    any step can give, and updates `A` by `|w|` and `B` by `2k - 1`. For ternary weights this is the mean of
    the k largest `|w|`, k maximising `(Σ_k |w|)²/k`. For more levels a lower bound of the error first
    discards the steps that cannot be best.

    Args:
        weights: Latent weights, an array or what becomes one; any shape, float.
        bits: 2 to 8.
        channel_axes: Axes that keep a step of their own; None for one step per tensor.

    Returns:
        `Δ`, in the dtype of `weights`, of shape 1 on all but `channel_axes`. Zero where all weights are.

    Raises:
        ValueError: If `bits` is not 2 to 8, or a weight is NaN or infinite.
    """
    largest = largest_code(bits)
    weights = _finite(weights)
    magnitudes = _rows(weights, channel_axes)
    if largest == 1:
        steps = _ternary_steps(magnitudes)
    else:
        steps = _sweep(magnitudes, *_bracket(magnitudes, largest), largest)
    return steps.reshape(step_shape(weights.shape, channel_axes)).astype(weights.dtype)


def lsq_step(values: Any, upper: int, channel_axes: Sequence[int] | None = None) -> np.ndarray:
    """Returns LSQ's first step, `2·E|v|/sqrt(Q_P)` (arXiv 1902.08153, section 2.1).

    Args:
        values: Weights, or activations of the first batch; float.
        upper: `Q_P`, the largest code.
        channel_axes: Axes that keep a step of their own; None for one per tensor.

    Returns:
        The step, in the dtype of `values`, of shape 1 on all but `channel_axes`, at least `SMALLEST_STEP`.
    """
    values = _finite(values)
    shared = tuple(axis for axis in range(values.ndim) if axis not in (channel_axes or ()))
    mean = np.abs(values).mean(shared, dtype=np.float64, keepdims=True)
    return np.maximum(2 * mean / upper**0.5, SMALLEST_STEP).astype(values.dtype)


def ttq_scales(weights: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns TTQ's first scales `Wp` and `Wn`: the mean magnitudes beyond the threshold on either side.

    They are the L2 optimum for the threshold `0.05·max|w|` (arXiv 1612.01064).

    Args:
        weights: Latent weights, any shape, float.

    Returns:
        Two scalars in the dtype of `weights`; zero where no weight is beyond the threshold.
    """
    weights = _finite(weights)
    threshold = weights.dtype.type(TTQ_FACTOR) * np.abs(weights).max()
    sides = (weights[weights > threshold], -weights[weights < -threshold])
    positive, negative = (
        np.asarray(side.mean(dtype=np.float64) if side.size else 0.0, weights.dtype)
        for side in sides
    )
    return positive, negative


def _finite(weights: Any) -> np.ndarray:
    array = np.asarray(weights)
    if not np.isfinite(array).all():
        raise ValueError(
            "The weights to quantize must be finite. Received a NaN or infinite weight. Train the float "
            "model until its loss is finite, or load other weights."
        )
    return array


def _rows(weights: np.ndarray, channel_axes: Sequence[int] | None) -> np.ndarray:
    """|w| as a float64 matrix: a row for each step, in the order of the step's own shape."""
    axes = list(channel_axes or ())
    rest = [axis for axis in range(weights.ndim) if axis not in axes]
    count = int(np.prod([weights.shape[axis] for axis in axes], dtype=int))
    return np.abs(weights.transpose(axes + rest).reshape(count, -1).astype(np.float64))


def _divided(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """`x/y`, and zero where `y` is."""
    return np.divide(x, y, out=np.zeros(np.broadcast_shapes(x.shape, y.shape)), where=y != 0)


def _ternary_steps(magnitudes: np.ndarray) -> np.ndarray:
    sums = np.cumsum(-np.sort(-magnitudes, axis=1), axis=1)
    counts = np.arange(1, sums.shape[1] + 1, dtype=np.float64)
    best = np.argmax(sums * sums / counts, axis=1)
    return (sums / counts)[np.arange(len(sums)), best]


def _row_codes(magnitudes: np.ndarray, steps: np.ndarray, largest: int) -> np.ndarray:
    return np.minimum(np.floor(_divided(magnitudes, steps[:, None]) + 0.5), float(largest))


def _bracket(magnitudes: np.ndarray, largest: int) -> tuple[np.ndarray, np.ndarray]:
    """Bounds `[rows]` below and above the best steps, tight enough to sweep between them.

    Any step between `a` and `b` puts the levels of code k into `[ka, kb]`, so the sum of the squared
    distances from the weights to these intervals bounds the error from below for a whole window of steps;
    windows whose bound exceeds the least error seen cannot hold the best step.
    """

    def bound_and_error(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        below = np.minimum(np.floor(_divided(magnitudes, low[:, None])), float(largest))
        distance = np.maximum(magnitudes - high[:, None] * below, 0.0)
        next_level = np.where(below < largest, low[:, None] * (below + 1) - magnitudes, distance)
        bound = (np.minimum(distance, next_level) ** 2).sum(axis=1)
        error = magnitudes - low[:, None] * _row_codes(magnitudes, low, largest)
        return bound, (error * error).sum(axis=1)

    # Above 2·max|w| all codes are zero. With the step max|w|/L no weight is clipped and the error is at most
    # half a step each; far below it, clipping alone costs more than that.
    high = 2 * magnitudes.max(axis=1)
    norm = np.sqrt((magnitudes * magnitudes).sum(axis=1))
    reach = np.sqrt(float(magnitudes.shape[1]))
    low = np.maximum(norm / reach - high / (4 * largest), high * 1e-6) / largest
    # A window costs one pass over the weights, a breakpoint left to sweep a dozen: few levels, few windows.
    for windows in (64, 64, 128) if largest > 15 else (32,):
        ratio = _divided(high, low) ** (1 / windows)
        edges = low * ratio ** np.arange(windows + 1, dtype=np.float64)[:, None]
        edges[-1] = high
        pairs = [bound_and_error(*pair) for pair in itertools.pairwise(edges)]
        bounds, errors = (np.stack(each) for each in zip(*pairs, strict=True))
        alive = bounds <= errors.min(axis=0) * (1 + 1e-9)
        low, high = (
            np.where(alive, edges[:-1], high).min(axis=0),
            np.where(alive, edges[1:], low).max(axis=0),
        )
    return low, high


def _sweep(magnitudes: np.ndarray, low: np.ndarray, high: np.ndarray, largest: int) -> np.ndarray:
    """The best step `[rows]` between `low` and `high`, by passing every breakpoint between them."""
    rows = len(magnitudes)
    start = _row_codes(magnitudes, high, largest)
    passed = (_row_codes(magnitudes, low, largest) - start).astype(np.int64).ravel()
    # One entry for each code change: the element's row, its magnitude, the code k that it reaches.
    element = np.repeat(np.arange(magnitudes.size), passed)
    first = (np.cumsum(passed) - passed)[element]
    magnitude = magnitudes.ravel()[element]
    reached = start.ravel()[element] + (np.arange(len(element)) - first + 1)
    row = element // magnitudes.shape[1]

    order = np.lexsort((-magnitude / (reached - 0.5), row))
    row = row[order]
    row_start = np.searchsorted(row, np.arange(rows))

    def running(initial: np.ndarray, increments: np.ndarray) -> np.ndarray:
        total = np.concatenate([[0.0], np.cumsum(increments[order])])
        return (initial - total[row_start])[row] + total[1:]

    start_sum = (magnitudes * start).sum(axis=1)
    start_square = (start * start).sum(axis=1)
    sums = np.concatenate([start_sum, running(start_sum, magnitude)])
    squares = np.concatenate([start_square, running(start_square, 2 * reached - 1)])
    row = np.concatenate([np.arange(rows), row])

    gain = _divided(sums * sums, squares)
    best, steps = np.full(rows, -np.inf), np.zeros(rows)
    np.maximum.at(best, row, gain)
    np.maximum.at(steps, row, np.where(gain >= best[row], _divided(sums, squares), 0.0))
    return steps
