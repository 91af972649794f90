"""The soft term of a `Distiller`'s loss: the mean over a batch of what teacher and student differ by."""

from typing import Any

from tfqkd.compat import tf
from tfqkd.fronts import soft_term
from tfqkd.fronts.tfmot.means import mean
from tfqkd.fronts.tfmot.ops import OPS
from tfqkd.fronts.tfmot.output_form import mask_of
from tfqkd.fronts.tfmot.shapes import known_shape
from tfqkd.fronts.tfmot.step_error import step_error


class SoftTerm(soft_term.SoftTerm):
    """A soft loss of outputs of one kind."""

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
        wrong = self.wrong_outputs(known_shape(teacher_logits), known_shape(logits))
        if wrong:
            raise step_error(wrong)
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
