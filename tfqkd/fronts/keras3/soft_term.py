"""The soft term of a `Distiller`'s loss: what teacher and student differ by."""

from typing import Any

import keras

from tfqkd.fronts import soft_term
from tfqkd.fronts.keras3.ops import OPS


class SoftTerm(soft_term.SoftTerm):
    """A soft loss of outputs of one kind."""

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
        wrong = self.wrong_outputs(tuple(teacher.shape), tuple(student.shape))
        if wrong:
            raise ValueError(wrong)
        return _OfBatch(self, labels, temperature)(teacher, student, sample_weight)


class _OfBatch(keras.losses.Loss):
    """The soft loss of one batch; as a loss of Keras it knows of sample weights and replicas."""

    def __init__(self, term: SoftTerm, labels: Any, temperature: Any) -> None:
        super().__init__(name="soft_loss", dtype="float32")
        self._term, self._labels, self._temperature = term, labels, temperature

    def call(self, y_true: Any, y_pred: Any) -> Any:
        term = self._term
        return term.loss.of(term.task, y_true, y_pred, self._labels, self._temperature, OPS)
