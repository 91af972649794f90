"""What a training computes, over NumPy or jax.numpy (`xp`), and the tables that it is handed."""

from typing import Any

import numpy as np

SOFT_LOSSES = {"kd": (4, 0, 1, 0, 1), "standardized": (2, 1, 10, 0, 10), "dkd": (4, 0, 1, 2, 0)}
"""The numbers of `soft_loss`: T, standardize, target, others, rest. Standardised logits weigh ten times as
much (their authors: 9 beside 0.1 of the labels); DKD has α 1, β 2, its authors' for resnet56 and resnet20."""

FLOAT = np.float32(-1)
"""The step of weights that stay float: a value, so that one program serves float and ternary rows."""

MOMENTS = {
    "cifar10": ((125.31, 122.95, 113.87), (62.99, 62.09, 66.70)),
    "cifar100": ((129.30, 124.07, 112.43), (68.17, 65.39, 70.42)),
}
"""Mean and deviation of the training pixels, so that programs compile before the data is there."""


def ternary_step(weights: np.ndarray) -> np.float32:
    """Returns the L2-optimal step of ternary weights: the bits of tfqkd's `optimal_step`."""
    sums = np.cumsum(-np.sort(-np.abs(weights).astype(np.float64), axis=None))
    counts = np.arange(1, sums.size + 1)
    best = np.argmax(sums * sums / counts)
    return np.float32(sums[best] / counts[best])


def quantize(weights: Any, step: Any, xp: Any) -> Any:
    """Returns `Δ · sign(w) · min(⌊|w|/Δ + 1/2⌋, 1)`; zeros where Δ is 0, and w itself where it is `FLOAT`."""
    magnitude = xp.floor(xp.abs(weights) / xp.where(step > 0, step, xp.ones_like(step)) + 0.5)
    return xp.where(step < 0, weights, step * (xp.sign(weights) * xp.minimum(magnitude, 1)))


def show(images: Any, rows: Any, views: Any, xp: Any, padding: int = 4) -> Any:
    """Returns the images of `rows` in their views, of 2·(2·padding + 1)², by one gather."""
    offsets, size = 2 * padding + 1, images.shape[1]
    line, views = xp.arange(size), views[:, None]
    column = xp.where(views // offsets**2 == 1, size - 1 - line, line)
    y = (views % offsets**2 // offsets + line - padding)[:, :, None]
    x = (views % offsets + column - padding)[:, None, :]
    inside = (y >= 0) & (y < size) & (x >= 0) & (x < size)
    pixels = images[rows[:, None, None], y.clip(0, size - 1), x.clip(0, size - 1)]
    return xp.where(inside[..., None], pixels, 0)


def soft_loss(teacher: Any, student: Any, labels: Any, numbers: Any, xp: Any) -> Any:
    """Returns `T²·(target·TCKD + (others + rest·(1 - p_T[y]))·NCKD)` for each example (arXiv 2203.08679).

    With (1, 0, 1) it is T²·KL(teacher ‖ student). `standardize` 1 first makes each row of logits `[B, C]`
    (z - mean)/std (arXiv 2403.01427). `labels` are one-hot.
    """
    temperature, standardize, for_target, for_others, for_rest = numbers

    def logs(z: Any) -> tuple[Any, Any, Any]:
        """Logarithms of p[y], of 1 - p[y], and of the other classes' p among themselves."""
        centred = z - z.mean(-1, keepdims=True)
        variance = (centred**2).sum(-1, keepdims=True) / (z.shape[-1] - 1)
        # The bound spares the gradient of a root at 0.
        standard = centred / (1e-7 + xp.sqrt(xp.maximum(variance, 1e-20)))
        z = xp.where(standardize > 0, standard, z) / temperature
        others = xp.where(labels > 0, -1e30, z)
        most = others.max(-1, keepdims=True)
        rest = most + xp.log(xp.exp(others - most).sum(-1, keepdims=True))
        own = xp.where(labels > 0, z, 0).sum(-1, keepdims=True)
        total = xp.logaddexp(own, rest)
        return own - total, rest - total, xp.where(labels > 0, 0, z - rest)

    (own_t, rest_t, other_t), (own_s, rest_s, other_s) = logs(teacher), logs(student)
    left = xp.exp(rest_t)
    target = xp.exp(own_t) * (own_t - own_s) + left * (rest_t - rest_s)
    others = (xp.exp(other_t) * (other_t - other_s)).sum(-1, keepdims=True)
    weighed = for_target * target + (for_others + for_rest * left) * others
    return weighed[:, 0] * temperature**2


def table(epoch: int, stage: Any, steps: int) -> np.ndarray:
    """Returns an epoch's learning rates and weights of hard and soft loss, float32 `[steps, 3]`.

    The rate rises through the first epoch, and falls to 0 on half a cosine; λ goes on a straight line from
    epoch to epoch. In a control the hard loss keeps its 1 - λ, and the soft loss is left out.
    """
    step, total = epoch * steps + np.arange(steps), stage.epochs * steps
    rates = stage.rate * (1 + np.cos(np.pi * step / total)) / 2 * np.minimum((step + 1) / steps, 1)
    first, last = stage.coefficient
    value = first + (last - first) * epoch / max(stage.epochs - 1, 1)
    weights = np.tile([1 - value, 0 if stage.control else value], (steps, 1))
    return np.column_stack([rates, weights]).astype(np.float32)


def sharpness(entropy: float, classes: int) -> float:
    """Returns a, so that softmax(a · one-hot) has this entropy in nats: labels smoothed as much."""
    candidates = np.linspace(0, 50, 500_001)
    rest = (classes - 1) * np.exp(-candidates)
    found = np.log1p(rest) + rest * candidates / (1 + rest)
    return float(candidates[np.argmin(np.abs(found - entropy))])
