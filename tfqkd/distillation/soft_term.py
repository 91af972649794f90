"""The soft term of a `Distiller`'s loss: the mean over a batch of what teacher and student differ by."""

import dataclasses
from typing import Any

from tfqkd.compat import keras, tf
from tfqkd.distillation import losses
from tfqkd.distillation.means import mean
from tfqkd.distillation.step_error import step_error
from tfqkd.distillation.tasks import Task


@dataclasses.dataclass(frozen=True)
class SoftTerm:
    """A soft loss of outputs of one kind.

    Attributes:
        task: What the outputs are.
        kind: Of the soft loss, as a `Distiller` takes it.
        dkd_beta: β of decoupled distillation.
        scaled: Whether the loss is multiplied by `T²`.
    """

    task: Task
    kind: str
    dkd_beta: float
    scaled: bool

    @property
    def logged(self) -> list[str]:
        """The names of the means that a step logs of it."""
        return ["soft_loss", *(["agreement"] if self.task.agreement else [])]

    def require_student(self, student: keras.Model) -> None:
        """Raises if there is no such loss of what a student shows that it returns.

        Raises:
            ValueError: If the kind is of other tasks, the task has no such outputs, or decoupled
                distillation has two classes alone.
        """
        self.task.require_soft_loss(self.kind)
        if not isinstance(getattr(student, "output_shape", None), tuple):
            return
        outputs = tf.TensorShape(student.output_shape)
        self.task.require_outputs(outputs)
        if self.kind == losses.DECOUPLED and outputs[-1] == 2:
            raise ValueError(
                "Decoupled distillation needs three classes or more: of two, none are left beside the "
                "label. Received: soft_loss='dkd' for 2 classes. Take soft_loss='kl'."
            )

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
            ValueError: If the shapes differ; as the step is traced.
        """
        self.task.require_outputs(logits.shape)
        if not teacher_logits.shape.is_compatible_with(logits.shape):
            raise step_error(
                "Teacher and student must return logits of one shape, or values. Received: teacher "
                f"{teacher_logits.shape}, student {logits.shape}. Train both on the same data."
            )
        # What shows no shape yet must not be stretched to the student's in silence.
        teacher_logits = tf.ensure_shape(teacher_logits, logits.shape)
        soft = self._by_example(teacher_logits, logits, labels, temperature)
        if sample_weight is not None:
            soft *= tf.reshape(tf.cast(sample_weight, tf.float32), tf.shape(soft))
        return mean(soft)

    def _by_example(
        self, teacher_logits: tf.Tensor, logits: tf.Tensor, labels: Any, temperature: tf.Tensor
    ) -> tf.Tensor:
        if self.kind == losses.DECOUPLED:
            classes = losses.class_numbers(tf.nest.flatten(labels)[0], logits)
            return losses.decoupled_soft_loss(
                teacher_logits, logits, classes, temperature, self.dkd_beta, self.scaled
            )
        if self.kind == losses.STANDARDIZED:
            both = losses.standardized(teacher_logits), losses.standardized(logits)
            return self.task.soft_loss(*both, temperature, "kl", self.scaled)
        return self.task.soft_loss(teacher_logits, logits, temperature, self.kind, self.scaled)
