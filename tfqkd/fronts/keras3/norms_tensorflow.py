"""Norms of the gradients of several losses, on TensorFlow."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfqkd.fronts.keras3.balance import squares_of


def squares(losses: Callable[[Sequence[Any]], Any], values: Sequence[Any], known: Any) -> Any:
    """Returns what `norms_jax.squares` does; the mean over replicas where there are several."""
    values = [tf.convert_to_tensor(value) for value in values]
    known = tf.convert_to_tensor(known)

    def measured() -> tf.Tensor:
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(values)
            hard, *others = tf.unstack(losses(values), known.shape[0] + 1)
        by_hard = _dense(tape.gradient(hard, values))
        return tf.stack(
            [squares_of(by_hard, _dense(tape.gradient(other, values))) for other in others]
        )

    found = tf.cond(tf.reduce_any(known < 0), measured, lambda: tf.zeros([known.shape[0], 2]))
    replica = tf.distribute.get_replica_context()
    if replica is not None and replica.num_replicas_in_sync > 1:
        # Outside of the condition: inside, replicas cannot meet.
        found = replica.all_reduce(tf.distribute.ReduceOp.MEAN, found)
    return found


def _dense(gradients: Sequence[Any]) -> list[Any]:
    """Gradients by tables of embeddings name rows."""
    return [None if each is None else tf.convert_to_tensor(each) for each in gradients]
