"""The weights whose steps are recorded: many shapes of distribution, sizes and widths, from fixed seeds."""

import itertools
from collections.abc import Iterator

import numpy as np

BITS = (2, 3, 4, 8)
KINDS = ("gaussian", "laplace", "uniform", "student", "tied", "half_zero", "zero")
SHAPES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "one": ((1,), (0,)),
    "few": ((7,), (0,)),
    "dense": ((40, 6), (1,)),
    "conv": ((3, 3, 4, 5), (3,)),
    "depthwise": ((3, 3, 6, 2), (2, 3)),
    "large": ((3, 3, 32, 16), (3,)),
}
"""Shapes with the axes of their output channels."""


def weights(kind: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    drawn = {
        "gaussian": generator.normal(0, 0.05, shape),
        "laplace": generator.laplace(0, 0.1, shape),
        "uniform": generator.uniform(-1, 1, shape),
        "student": generator.standard_t(1.5, shape),
        "tied": generator.integers(-3, 4, shape) * 0.25,
        "half_zero": np.maximum(generator.normal(size=shape), 0),
        "zero": np.zeros(shape),
    }
    return drawn[kind].astype(np.float32)


def cases() -> Iterator[tuple[str, np.ndarray, int, tuple[int, ...] | None]]:
    """Yields a name, weights, bits and the axes of channels, or None for one step."""
    for seed, (kind, (name, (shape, axes))) in enumerate(itertools.product(KINDS, SHAPES.items())):
        drawn = weights(kind, shape, seed)
        for bits, channels in itertools.product(BITS, (None, axes)):
            kept = "tensor" if channels is None else "channel"
            yield f"{kind}/{name}/{bits}/{kept}", drawn, bits, channels
