"""Means over a batch of which a replica may have any part, or none."""

from tfqkd.compat import tf


def mean(values: tf.Tensor) -> tf.Tensor:
    """Returns the mean, or zero where a replica gets no example of a small last batch."""
    return tf.math.divide_no_nan(tf.reduce_sum(values), tf.cast(tf.size(values), tf.float32))


def share_of_global_batch(batch: tf.Tensor) -> tf.Tensor | float:
    """Returns what part of the global batch this replica has.

    A mean over its part times this, summed over the replicas, is the mean over the global batch.

    Args:
        batch: How many examples it has.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return 1.0
    batch = tf.cast(batch, tf.float32)
    return batch / context.all_reduce(tf.distribute.ReduceOp.SUM, batch)


def penalties(losses: list[tf.Tensor]) -> tf.Tensor:
    """Returns the sum of a model's regularisers, float32."""
    return tf.add_n([0.0, *(tf.cast(loss, tf.float32) for loss in losses)])
