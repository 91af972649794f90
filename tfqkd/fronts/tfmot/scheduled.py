"""A variable that a schedule drives, by the epoch from outside or by the step inside the graph."""

from collections.abc import Sequence

from tfqkd.compat import tf


class ScheduledVariable:
    """A float that a callback assigns, or that a table of values a step drives.

    With `steps_per_execution` above one, or under XLA, several steps run between two calls of a callback:
    what changes at every step must be in the graph. The table is a variable, so a new one traces nothing.

    Attributes:
        value: The variable, float32 scalar: what the last or the next step uses.

    Args:
        name: Name of the variable.
        initial: Its first value.
    """

    def __init__(self, name: str, initial: float) -> None:
        self.value = tf.Variable(
            float(initial),
            trainable=False,
            dtype=tf.float32,
            name=name,
            # Every replica assigns the same value to its own copy.
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        self._table = tf.Variable(
            tf.zeros([0]), shape=[None], trainable=False, name=f"{name}_table"
        )
        self._first_step = tf.Variable(
            0, dtype=tf.int64, trainable=False, name=f"{name}_first_step"
        )

    def follow(self, values: Sequence[float], first_step: int = 0) -> None:
        """Takes `values[i]` at optimizer step `first_step + i` from now on; the last one stays."""
        self._table.assign(tf.constant(values, tf.float32))
        self._first_step.assign(first_step)

    def hold(self) -> None:
        """Keeps the present value until it is assigned or a table is followed again."""
        self._table.assign(tf.zeros([0]))

    def advance(self, step: tf.Tensor) -> tf.Tensor:
        """Sets the variable for the optimizer step `step` and returns its value; in a graph."""
        table = tf.convert_to_tensor(self._table)
        last = tf.size(table, out_type=tf.int64) - 1
        index = tf.clip_by_value(tf.cast(step, tf.int64) - self._first_step, 0, tf.maximum(last, 0))
        # Appending the present value keeps the gather valid when there is no table, without a branch.
        value = tf.gather(tf.concat([table, [self.value]], axis=0), index)
        self.value.assign(value)
        return value
