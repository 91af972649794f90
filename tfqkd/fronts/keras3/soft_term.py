"""The soft term of a `Distiller`'s loss: what teacher and student differ by."""

import dataclasses
from typing import Any

import keras

from tfqkd.core.soft_loss import SoftLoss
from tfqkd.core.tasks import Task
from tfqkd.fronts.keras3.ops import OPS
from tfqkd.fronts.shapes import compatible


@dataclasses.dataclass(frozen=True)
class SoftTerm:
    """A soft loss of outputs of one kind.

    Attributes:
        task: What the outputs are.
        soft_loss: What teacher and student are compared by.
    """

    task: Task
    soft_loss: SoftLoss

    def require_outputs(self, shape: tuple[int | None, ...]) -> None:
        """Raises ValueError if there is no such loss of outputs of this shape, `[batch, ..., outputs]`."""
        self.task.require_outputs(shape)
        self.soft_loss.require_outputs(self.task, shape[-1])

    def mean(
        self, teacher: Any, student: Any, labels: Any, temperature: Any, sample_weight: Any
    ) -> Any:
        """Returns the mean of the soft loss over the batch, divided by the number of replicas as Keras does.

        Args:
            teacher: Its outputs, float32 `[batch, ..., outputs]`.
            student: Its outputs, float32, of the same shape.
            labels: Of the batch; only decoupled distillation reads them.
            temperature: `T`.
            sample_weight: For each example, or None.

        Raises:
            ValueError: If the shapes differ, or are none that the loss takes; as the step is traced.
        """
        self.require_outputs(tuple(student.shape))
        if not compatible(teacher.shape, student.shape):
            raise ValueError(
                "Teacher and student must return logits of one shape, or values. Received: teacher "
                f"{tuple(teacher.shape)}, student {tuple(student.shape)}. Train both on the same data."
            )
        return _OfBatch(self, labels, temperature)(teacher, student, sample_weight)


class _OfBatch(keras.losses.Loss):
    """The soft loss of one batch; as a loss of Keras it knows of sample weights and replicas."""

    def __init__(self, term: SoftTerm, labels: Any, temperature: Any) -> None:
        super().__init__(name="soft_loss", dtype="float32")
        self._term, self._labels, self._temperature = term, labels, temperature

    def call(self, y_true: Any, y_pred: Any) -> Any:
        term = self._term
        return term.soft_loss.of(term.task, y_true, y_pred, self._labels, self._temperature, OPS)
