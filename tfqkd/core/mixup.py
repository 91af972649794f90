"""Mixup as a function of seed, epoch and example: with whom each is mixed, and how much."""

import numpy as np

from tfqkd.core.views import MIX, NUMPY, uniform


def partners(order: np.ndarray) -> np.ndarray:
    """Returns with which example each is mixed: the two at places 2i and 2i + 1 of an epoch with each other.

    So that a batch of an even size holds both, and no image is decoded twice.

    Args:
      order: The examples in the order of the epoch, `[n]` (`views.draw_order`).

    Returns:
      The partners in this order, `[n]`; the last of an odd number is its own.
    """
    places = np.arange(len(order)) ^ 1
    return np.asarray(order)[np.minimum(places, len(order) - 1)]


def shares(key: int, epoch: int, examples: np.ndarray, alpha: float) -> np.ndarray:
    """Draws the share λ of each example itself in `λ·x + (1-λ)·partner`: Beta(α, α), arXiv 1710.09412.

    Args:
      key: Of the training, 0..2**32-1.
      epoch: Its number.
      examples: Numbers of examples `[n]`.
      alpha: α > 0; the smaller, the nearer to 0 or 1.

    Returns:
      float64 `[n]`.

    Raises:
      ValueError: If α is not above 0 and finite.
    """
    if not 0 < alpha < float("inf"):
        raise ValueError(
            f"`alpha` of mixup must be above 0 and finite. Received: alpha={alpha}. 0.2 is usual."
        )
    own, other = (_log_gamma(key, side, epoch, np.asarray(examples), alpha) for side in (0, 1))
    # In logarithms: for a small α both may be below what a float holds.
    return 1 / (1 + np.exp(np.clip(other - own, -700, 700)))


def _log_gamma(key: int, side: int, epoch: int, examples: np.ndarray, alpha: float) -> np.ndarray:
    """Draws logarithms of Gamma(α): G. Marsaglia and W. Tsang, ACM Trans. Math. Softw. 26 (2000) 363."""
    shape = alpha + 1 if alpha < 1 else alpha
    d = shape - 1 / 3
    c = 1 / np.sqrt(9 * d)
    found = np.empty(len(examples))
    waiting, attempt = np.arange(len(examples)), 0
    while len(waiting):
        first, second, accepted = (
            uniform(key, (MIX, side, 3 * attempt + part), epoch, examples[waiting], NUMPY)
            for part in range(3)
        )
        # Zero has no logarithm.
        normal = np.sqrt(-2 * np.log1p(-first)) * np.cos(2 * np.pi * second)
        cube = (1 + c * normal) ** 3
        with np.errstate(invalid="ignore", divide="ignore"):
            fits = (cube > 0) & (
                np.log1p(-accepted) < normal**2 / 2 + d - d * cube + d * np.log(cube)
            )
            found[waiting[fits]] = (np.log(d) + np.log(cube))[fits]
        waiting, attempt = waiting[~fits], attempt + 1
    if alpha < 1:
        drawn = uniform(key, (MIX, side, 2**31), epoch, examples, NUMPY)
        found += np.log1p(-drawn) / alpha
    return found
