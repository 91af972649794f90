"""Labels, looked at: whether a student has an output for each of them."""

from typing import Any

import numpy as np

from tfqkd.compat import tf
from tfqkd.distillation.hard_loss import HardLoss
from tfqkd.distillation.replicas import copies, replica_variable
from tfqkd.distillation.step_error import step_error


class Labels:
    """Checks the labels' shape as a step is traced, and notes their range for a look from outside.

    TensorFlow says of a class that does not exist what its kernel says: an error on a CPU, a loss of NaN
    under XLA and on a GPU. So every step leaves the lowest and the highest label in a variable, which costs
    no transfer to the host.
    """

    def __init__(self) -> None:
        self._range = replica_variable([np.inf, -np.inf], tf.float32, "lowest_and_highest_label")
        self._limits = (-np.inf, np.inf)
        self._rule = self._advice = ""

    def forget(self) -> None:
        """Forgets what was noted."""
        self._range.assign([np.inf, -np.inf])

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
        _require_shape(flat[0].shape, outputs.shape, hard)
        classes = outputs.shape[-1]
        if hard.labels == "one-hot" or classes is None:
            return labels
        if hard.labels == "classes":
            self._limits = (0, classes - 1)
            self._rule = f"the student's {classes} classes, numbered from 0 to {classes - 1}"
            self._advice = "Number classes from 0, and give the student an output for each."
        else:
            self._limits = (0, 1)
            self._rule = f"from 0 (no) to 1 (yes) for {hard.name}"
            self._advice = "Give each yes or no a column and an output of its own."
        values, ignored = tf.cast(flat[0], tf.float32), hard.settings.get("ignore_class")
        if ignored is not None:
            values = tf.where(values == float(ignored), 0.0, values)
        lowest = tf.minimum(self._range[0], tf.reduce_min(values))
        highest = tf.maximum(self._range[1], tf.reduce_max(values))
        self._range.assign(tf.stack([lowest, highest]))
        # The loss may fail on these labels: not before they are noted.
        with tf.control_dependencies([tf.convert_to_tensor(self._range)]):
            return tf.nest.map_structure(tf.identity, labels)

    def require_in_range(self) -> None:
        """Raises if a label that was noted is out of range, and forgets it.

        Raises:
            ValueError: If one is.
        """
        noted = copies(self._range)
        lowest, highest = noted[:, 0].min(), noted[:, 1].max()
        if lowest < self._limits[0] or highest > self._limits[1]:
            self.forget()
            raise ValueError(
                f"Labels must be {self._rule}. "
                f"Received: labels from {lowest:g} to {highest:g}. {self._advice}"
            ) from None  # What TensorFlow said of them is longer, and says no more.


def _require_shape(labels: tf.TensorShape, outputs: tf.TensorShape, hard: HardLoss) -> None:
    if labels.rank is None:
        return
    column = tf.TensorShape([*outputs[:-1], 1])
    fitting = {
        "classes": [outputs[:-1], column],
        "one-hot": [outputs],
        # Keras adds or takes a last axis of one.
        "binary": [outputs, *([outputs[:-1]] if outputs[-1] == 1 else [])],
    }[hard.labels or "one-hot"]
    if any(labels.is_compatible_with(shape) for shape in fitting):
        return
    kind = {
        "classes": "numbers of classes",
        "one-hot": "one-hot, as wide as the student's outputs",
        "binary": "one for each of the student's outputs",
    }[hard.labels or "one-hot"]
    raise step_error(
        f"Labels for {hard.name} must be {kind}. "
        f"Received: labels of shape {labels} for outputs of shape {outputs}. "
        "Use SparseCategoricalCrossentropy for numbers of classes, CategoricalCrossentropy for one-hot "
        "labels, BinaryCrossentropy for labels that are each yes or no."
    )
