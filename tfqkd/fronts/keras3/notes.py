"""What steps note of labels and of a teacher's outputs, for a look from outside."""

from typing import Any

import keras
import numpy as np

from tfqkd.core.tasks import Task
from tfqkd.fronts.hard_loss import HardLoss
from tfqkd.fronts.keras3.ops import OPS
from tfqkd.fronts.labels import require_range, wrong_shape

_ops = keras.ops
_NOTHING = [np.inf, -np.inf, 0.0, 0.0, 0.0]


class Notes:
    """The range of the labels that were seen, and how many outputs of a teacher look like probabilities.

    A step may be compiled, where nothing can be raised, and what a backend says of a class that does not
    exist is an error, a NaN, or nothing. So every step leaves the lowest label, the highest, the number of
    outputs, and how many outputs were looked at and were probabilities, in a variable. It belongs to no
    layer, file or checkpoint.

    Attributes:
        variable: Float32 [5].

    Args:
        hard: The loss that takes the labels.
        task: What the outputs are, if a teacher is asked.
    """

    def __init__(self, hard: HardLoss, task: Task | None) -> None:
        self._hard, self._task = hard, task
        self.variable = keras.Variable(
            np.array(_NOTHING, np.float32),
            trainable=False,
            autocast=False,
            # Each replica notes what it sees.
            synchronization="on_read",
            aggregation="only_first_replica",
            name="labels_and_targets",
        )

    def forget(self) -> None:
        """Forgets what was noted."""
        self.variable.assign(np.array(_NOTHING, np.float32))

    def labels(self, labels: Any, outputs: Any) -> Any:
        """Looks at the labels of one batch before a loss does; in a graph.

        Args:
            labels: Of the one output.
            outputs: The student's, `[batch, ..., outputs]`.

        Returns:
            The labels, once their range is noted.

        Raises:
            ValueError: If their shape does not fit the outputs; as the step is traced.
        """
        wrong = wrong_shape(tuple(labels.shape), tuple(outputs.shape), self._hard)
        if wrong:
            raise ValueError(wrong)
        if self._hard.labels not in ("classes", "binary"):
            return labels
        values, ignored = _ops.cast(labels, "float32"), self._hard.settings.get("ignore_class")
        if ignored is not None:
            values = _ops.where(values == float(ignored), 0.0, values)
        noted = self.variable.value
        seen = [
            _ops.minimum(noted[0], _ops.min(values)),
            _ops.maximum(noted[1], _ops.max(values)),
            _ops.cast(_ops.shape(outputs)[-1], "float32"),
            noted[3],
            noted[4],
        ]
        self.variable.assign(_ops.stack(seen))
        return self._after(labels)

    def targets(self, targets: Any) -> None:
        """Looks at a teacher's outputs `[batch, ..., outputs]` for one batch; in a graph."""
        if self._task and self._task.probabilities:
            looked_at, probable = self._task.probabilities(targets, OPS)
            counts = [_ops.cast(count, "float32") for count in (0.0, 0.0, 0.0, looked_at, probable)]
            self.variable.assign(self.variable.value + _ops.stack(counts))

    def require_labels(self, copies: list[np.ndarray]) -> None:
        """Raises if a label that was noted is out of range, and forgets it.

        Args:
            copies: What each replica noted.

        Raises:
            ValueError: If one is.
        """
        noted = np.stack(copies)
        if not noted[:, 2].any():
            return
        try:
            require_range(noted[:, 0].min(), noted[:, 1].max(), int(noted[:, 2].max()), self._hard)
        except ValueError:
            self.forget()
            raise

    def require_logits(self, copies: list[np.ndarray]) -> None:
        """Raises ValueError if all outputs that were noted are probabilities, and they are enough."""
        looked_at, probable = np.stack(copies)[:, 3:].sum(axis=0)
        if self._task:
            self._task.require_logits(int(looked_at), int(probable))

    def _after(self, labels: Any) -> Any:
        """On TensorFlow a loss may fail on the labels: not before they are noted."""
        if keras.backend.backend() != "tensorflow":
            return labels
        import tensorflow as tf  # noqa: PLC0415 (the backend)

        with tf.control_dependencies([tf.convert_to_tensor(self.variable.value)]):
            return tf.identity(labels)
