"""The soft term of a `Distiller`'s loss: the mean over a batch of what teacher and student differ by."""

import dataclasses
from typing import Any

from tfqkd.compat import keras, tf
from tfqkd.core.soft_loss import SoftLoss
from tfqkd.core.tasks import Task
from tfqkd.fronts.tfmot.means import mean
from tfqkd.fronts.tfmot.ops import OPS
from tfqkd.fronts.tfmot.step_error import step_error


@dataclasses.dataclass(frozen=True)
class SoftTerm:
    """A soft loss of outputs of one kind.

    Attributes:
        task: What the outputs are.
        loss: The settings of the soft loss.
    """

    task: Task
    loss: SoftLoss

    @property
    def logged(self) -> list[str]:
        """The names of the means that a step logs of it."""
        return ["soft_loss", *(["agreement"] if self.task.agreement else [])]

    def require_student(self, student: keras.Model) -> None:
        """Raises if there is no such loss of what a student shows that it returns.

        Raises:
            ValueError: If the kind is of other tasks, or the task has no such outputs.
        """
        shape = getattr(student, "output_shape", None)
        if isinstance(shape, tuple):
            self.task.require_outputs(shape)
        self.loss.require_outputs(self.task, shape[-1] if isinstance(shape, tuple) else None)

    def mean(
        self,
        teacher_logits: tf.Tensor,
        logits: tf.Tensor,
        labels: Any,
        temperature: tf.Tensor,
        sample_weight: tf.Tensor | None,
    ) -> tf.Tensor:
        """Returns the mean of the soft loss over this replica's examples, each with its weight.

        Args:
            teacher_logits: Float32 `[batch, ..., outputs]`.
            logits: The student's, float32, of the same shape.
            labels: Of the one output; only decoupled distillation reads them.
            temperature: `T`.
            sample_weight: For each example, or None.

        Raises:
            ValueError: If the shapes differ or the task has none such; as the step is traced.
        """
        if logits.shape.rank is not None:
            try:
                self.task.require_outputs(logits.shape)
            except ValueError as error:
                raise step_error(str(error)) from None
        if not teacher_logits.shape.is_compatible_with(logits.shape):
            raise step_error(
                "Teacher and student must return logits of one shape, or values. Received: teacher "
                f"{teacher_logits.shape}, student {logits.shape}. Train both on the same data."
            )
        # What shows no shape yet must not be stretched to the student's in silence.
        teacher_logits = tf.ensure_shape(teacher_logits, logits.shape)
        label = tf.nest.flatten(labels)[0]
        soft = self.loss.of(self.task, teacher_logits, logits, label, temperature, OPS)
        if sample_weight is not None:
            soft *= tf.reshape(tf.cast(sample_weight, tf.float32), tf.shape(soft))
        return mean(soft)
