"""The soft term of a `Distiller`'s loss: the mean over a batch of what teacher and student differ by."""

import dataclasses
from typing import Any

from tfqkd.compat import tf
from tfqkd.core.soft_loss import SoftLoss
from tfqkd.core.tasks import Task
from tfqkd.fronts.tfmot.means import mean
from tfqkd.fronts.tfmot.ops import OPS
from tfqkd.fronts.tfmot.step_error import step_error
from tfqkd.fronts.tfmot.structure import mask_of


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

    def require_shape(self, shape: Any) -> None:
        """Raises if there is no such loss of an output.

        Args:
            shape: The output's, as far as the student shows it.

        Raises:
            ValueError: If the kind is of other tasks, or the task has no such outputs.
        """
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
        # Keras hands over those of one output in a list or dict too.
        label = tf.nest.flatten(labels)[0]
        soft = self.loss.of(self.task, teacher_logits, logits, label, temperature, OPS)
        if sample_weight is not None:
            soft = _weighted(soft, sample_weight)
        return mean(masked(soft, logits))


def masked(values: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
    """Returns values whose mean is that over the steps of an output that count, as in Keras' losses."""
    mask = mask_of(output)
    if mask is None:
        return values
    counts = tf.cast(mask, tf.float32)
    share = tf.reduce_sum(counts) / tf.cast(tf.size(counts), tf.float32)
    return tf.math.divide_no_nan(values * counts, share)


def _weighted(values: tf.Tensor, sample_weight: tf.Tensor) -> tf.Tensor:
    """Losses times their weights, as Keras multiplies those of the hard loss."""
    weights = tf.cast(sample_weight, tf.float32)
    ranks = values.shape.rank, weights.shape.rank
    if None in ranks or ranks[0] <= 1:
        return values * tf.reshape(weights, tf.shape(values))
    if ranks[1] == ranks[0] + 1:
        weights = tf.squeeze(weights, -1)
    elif ranks[1] == ranks[0] - 1:
        weights = tf.expand_dims(weights, -1)
    return values * weights
