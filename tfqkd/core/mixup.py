"""Mixup as a function of seed, epoch and example: with whom each is mixed, and how much."""

import numpy as np

from tfqkd.core.views import MIX, NUMPY, uniform


def mixed(
    images: np.ndarray, labels: np.ndarray, key: int, epoch: int, examples: np.ndarray, alpha: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns each example of a batch mixed with its neighbour: the 1st with the 2nd, the 3rd with the 4th.

    So no image is read twice. The last of an odd number stays as it is.

    Args:
      images: uint8 `[n, H, W, C]`.
      labels: Of any float type, `[n, classes]`.
      key: Of the training, 0..2**32-1.
      epoch: Its number.
      examples: Numbers of examples `[n]`.
      alpha: α > 0 of `shares`.

    Returns:
      Images `λ·x + (1-λ)·neighbour`, rounded, uint8, and labels likewise.
    """
    neighbours = np.minimum(np.arange(len(examples)) ^ 1, len(examples) - 1)
    own = shares(key, epoch, examples, alpha)
    shown = own[:, None, None, None] * images
    shown += (1 - own)[:, None, None, None] * images[neighbours]
    share = own[:, None].astype(labels.dtype)
    return np.rint(shown).astype(np.uint8), share * labels + (1 - share) * labels[neighbours]


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
