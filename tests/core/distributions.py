"""Weights of many distributions, from fixed seeds."""

import numpy as np


def samples(kind: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    normal = generator.normal(size=shape)
    return {
        "normal": normal,
        "heavy_tailed": generator.standard_t(1.2, shape),
        "uniform": generator.uniform(-1, 1, shape),
        "zeros": np.zeros(shape),
        "constant": np.full(shape, -0.7),
        "one_nonzero": np.where(np.arange(normal.size).reshape(shape) == 1, -3.0, 0.0),
        "half_zero": normal * (normal > 0),
        "ties": generator.integers(-3, 4, shape) * 0.25,
        "tiny": normal * 1e-30,
        "huge": normal * 1e30,
    }[kind]


KINDS = (
    "normal",
    "heavy_tailed",
    "uniform",
    "zeros",
    "constant",
    "one_nonzero",
    "half_zero",
    "ties",
    "tiny",
    "huge",
)
