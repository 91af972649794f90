"""What property tests draw: arrays of many shapes and sizes, zeros, huge and tiny values among them."""

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import strategies as st

BITS = st.integers(2, 8)
STEPS = st.floats(2**-10, 4, width=32).map(np.float32)
SEEDS = st.integers(0, 2**32 - 1)


# TensorFlow flushes subnormal numbers to zero, NumPy does not: divided by a step, they stay normal here.
_ORDINARY = st.floats(-8, 8, width=32).filter(lambda value: value == 0 or abs(value) > 1e-30)
_EXTREME = st.sampled_from([0.0, 1e-20, -1e-20, 1e20, -1e20]).map(lambda v: float(np.float32(v)))
VALUES = hnp.arrays(
    np.float32,
    hnp.array_shapes(max_dims=4, max_side=5),
    elements=st.one_of(_ORDINARY, _EXTREME),
)


def upstream(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def floats(smallest: float, largest: float) -> st.SearchStrategy[float]:
    # TensorFlow flushes subnormal numbers to zero, NumPy does not.
    return st.floats(smallest, largest, width=32, allow_subnormal=False)
