"""Labels, looked at: whether a student has an output for each of them."""

from typing import Any

import numpy as np

from tfqkd.compat import tf
from tfqkd.fronts.hard_loss import HardLoss
from tfqkd.fronts.labels import require_range, wrong_shape
from tfqkd.fronts.tfmot.replicas import copies, replica_variable
from tfqkd.fronts.tfmot.shapes import known_shape
from tfqkd.fronts.tfmot.step_error import step_error

_NOTHING = [np.inf, -np.inf, 0.0]


class Labels:
    """Checks the labels' shape as a step is traced, and notes their range for a look from outside.

    TensorFlow says of a class that does not exist what its kernel says: an error on a CPU, a loss of NaN
    under XLA and on a GPU. So every step leaves the lowest label, the highest and the number of outputs in a
    variable, which costs no transfer to the host.
    """

    def __init__(self) -> None:
        self._noted = replica_variable(_NOTHING, tf.float32, "lowest_and_highest_label_and_outputs")
        self._hard: HardLoss | None = None

    def forget(self) -> None:
        """Forgets what was noted."""
        self._noted.assign(_NOTHING)

    def note(self, labels: Any, outputs: tf.Tensor, hard: HardLoss) -> Any:
        """Looks at the labels of one batch before a loss does; in a graph.

        Args:
            labels: Of the one output, alone or in a list or dict.
            outputs: The student's, `[batch, ..., outputs]`.
            hard: The loss that takes both.

        Returns:
            The labels, once their range is noted.

        Raises:
            ValueError: If their shape does not fit the outputs; as the step is traced.
        """
        flat = tf.nest.flatten(labels)
        if hard.labels is None or len(flat) != 1 or not isinstance(flat[0], tf.Tensor):
            return labels
        wrong = wrong_shape(known_shape(flat[0]), known_shape(outputs), hard)
        if wrong:
            raise step_error(wrong)
        if hard.labels == "one-hot":
            return labels
        self._hard = hard
        values, ignored = tf.cast(flat[0], tf.float32), hard.settings.get("ignore_class")
        if ignored is not None:
            values = tf.where(values == float(ignored), 0.0, values)
        lowest = tf.minimum(self._noted[0], tf.reduce_min(values))
        highest = tf.maximum(self._noted[1], tf.reduce_max(values))
        # In the graph, since batches of a generator may show no shape.
        count = tf.cast(tf.shape(outputs)[-1], tf.float32)
        self._noted.assign(tf.stack([lowest, highest, count]))
        # The loss may fail on these labels: not before they are noted.
        with tf.control_dependencies([tf.convert_to_tensor(self._noted)]):
            return tf.nest.map_structure(tf.identity, labels)

    def require_in_range(self) -> None:
        """Raises if a label that was noted is out of range, and forgets it.

        Raises:
            ValueError: If one is.
        """
        if self._hard is None:
            return
        noted = copies(self._noted)
        lowest, highest, outputs = noted[:, 0].min(), noted[:, 1].max(), int(noted[:, 2].max())
        try:
            require_range(lowest, highest, outputs, self._hard)
        except ValueError:
            self.forget()
            raise
