"""Variables that every replica keeps for itself: written inside a step, read from outside it."""

from typing import Any

import numpy as np

from tfqkd.compat import tf


def replica_variable(initial: Any, dtype: tf.DType, name: str) -> tf.Variable:
    """Returns a variable of which each replica has a copy of its own; none of them is trained."""
    return tf.Variable(
        initial,
        trainable=False,
        dtype=dtype,
        name=name,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
    )


def copies(variable: tf.Variable) -> np.ndarray:
    """Returns this worker's copies, `[replicas, ...]`; no other worker is asked."""
    local = tf.distribute.get_strategy().experimental_local_results(variable)
    return np.stack([copy.numpy() for copy in local])
