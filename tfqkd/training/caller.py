"""What a run changes for the whole process, and gives back to its caller."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from tfqkd.fronts.front import Front


@contextmanager
def callers_state_kept(front: Front) -> Iterator[None]:
    """Gives the caller's random generators, and what the front changes, back in the end, also after an error.

    The generators are Python's and NumPy's global one.
    """
    python, numpy = random.getstate(), np.random.get_state()
    with front.state_kept():
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
