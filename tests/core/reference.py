"""Quantization in NumPy alone, written from the formulas and as slowly as they read."""

import math

import numpy as np


def largest_code(bits: int) -> int:
    return (2**bits - 1) // 2


def codes(weights: np.ndarray, step: np.ndarray, bits: int) -> np.ndarray:
    """Weight by weight, in the arithmetic of their own dtype; `step` broadcasts to them."""
    weights, steps = np.broadcast_arrays(weights, step)
    out = np.zeros_like(weights)
    for index in np.ndindex(weights.shape):
        if steps[index] > 0:
            rounded = math.floor(abs(weights[index]) / steps[index] + weights.dtype.type(0.5))
            out[index] = np.sign(weights[index]) * min(rounded, largest_code(bits))
    return out


def optimal_step(weights: np.ndarray, bits: int) -> tuple[float, float]:
    """The best step of all, and its squared error, by trying every assignment that rounding can give."""
    magnitudes = np.abs(np.asarray(weights, np.float64)).ravel()
    if not magnitudes.any():
        return 0.0, 0.0
    breakpoints = magnitudes[:, None] / (np.arange(1, largest_code(bits) + 1) - 0.5)
    candidates = np.unique(breakpoints[breakpoints > 0])
    # Just below a candidate, the code is the number of breakpoints that are at or above it.
    assigned = np.stack([np.searchsorted(-row, -candidates, side="right") for row in breakpoints])
    sums, squares = magnitudes @ assigned, (assigned**2).sum(axis=0)
    best = np.argmax(sums**2 / squares)
    return sums[best] / squares[best], squared_error(weights, sums[best] / squares[best], bits)


def squared_error(weights: np.ndarray, step: float, bits: int) -> float:
    magnitudes = np.abs(np.asarray(weights, np.float64)).ravel()
    if step == 0:
        return float((magnitudes**2).sum())
    rounded = np.minimum(np.floor(magnitudes / step + 0.5), largest_code(bits))
    return float(((magnitudes - step * rounded) ** 2).sum())


def channels(weights: np.ndarray, axes: tuple[int, ...]) -> list[np.ndarray]:
    """The weights of each output channel, in the order of the step's own elements."""
    shape = [weights.shape[axis] for axis in axes]
    moved = np.moveaxis(weights, axes, range(len(axes)))
    return list(moved.reshape(math.prod(shape), -1))


def steps(weights: np.ndarray, bits: int, axes: tuple[int, ...] = ()) -> np.ndarray:
    """The best steps, shaped to broadcast to the weights."""
    shape = [size if axis in axes else 1 for axis, size in enumerate(weights.shape)]
    best = [optimal_step(channel, bits)[0] for channel in channels(weights, axes)]
    return np.reshape(best, shape).astype(weights.dtype)


def quantized(weights: np.ndarray, bits: int, axes: tuple[int, ...] = ()) -> np.ndarray:
    step = steps(weights, bits, axes)
    return step * codes(weights, step, bits)


def twn(weights: np.ndarray) -> np.ndarray:
    threshold = 0.7 * np.mean(np.abs(weights), dtype=np.float64)
    kept = np.abs(weights) > threshold
    scale = np.abs(weights[kept]).mean(dtype=np.float64) if kept.any() else 0.0
    return np.where(kept, scale * np.sign(weights), 0.0)


def absmean(weights: np.ndarray) -> np.ndarray:
    """Equations 1 to 3 of arXiv 2402.17764, without ε; halves go away from zero."""
    scale = np.mean(np.abs(weights), dtype=np.float64)
    return scale * np.sign(weights) * (np.abs(weights) >= scale / 2)


def lsq(values: np.ndarray, step: np.ndarray, lower: int, upper: int) -> np.ndarray:
    """Equations 1 and 2 of arXiv 1902.08153; NumPy rounds halves to even too."""
    return np.round(np.clip(values / step, lower, upper)) * step


def lsq_step_gradient(
    values: np.ndarray, step: float, lower: int, upper: int, upstream: np.ndarray
) -> float:
    """Equation 3, value by value."""
    total = 0.0
    for value, factor in zip(values.ravel(), upstream.ravel(), strict=True):
        ratio = value / step
        if ratio <= lower:
            total += factor * lower
        elif ratio >= upper:
            total += factor * upper
        else:
            total += factor * (np.round(ratio) - ratio)
    return total


def dorefa(weights: np.ndarray, bits: int) -> np.ndarray:
    """Equation 9 of arXiv 1606.06160, in float64."""
    levels = 2**bits - 1
    squashed = np.tanh(weights.astype(np.float64))
    unit = squashed / (2 * np.abs(squashed).max()) + 0.5
    return 2 * np.round(levels * unit) / levels - 1


def pact(values: np.ndarray, clip: float, levels: int, signed: bool) -> np.ndarray:
    """Equations 1 and 2 of arXiv 1805.06085, in float64."""
    clipped = np.clip(values.astype(np.float64), -clip if signed else 0, clip)
    return np.round(clipped * levels / clip) * clip / levels
