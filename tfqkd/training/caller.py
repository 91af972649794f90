"""What a run changes for the whole process, and gives back to its caller."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from tfqkd.compat import keras


@contextmanager
def callers_state_kept() -> Iterator[None]:
    """Gives the caller's dtype policy and random generators back in the end, also after an error.

    Inside, the policy is float32 until it is set, whatever the caller has chosen: a run is the same for every
    caller. The generators are Python's, NumPy's global one, and the kind that Keras takes for its layers.
    """
    policy = keras.mixed_precision.global_policy()
    python, numpy = random.getstate(), np.random.get_state()
    by_generator = keras.backend.experimental.is_tf_random_generator_enabled()
    keras.mixed_precision.set_global_policy("float32")
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(policy)
        random.setstate(python)
        np.random.set_state(numpy)
        if not by_generator:
            keras.backend.experimental.disable_tf_random_generator()
