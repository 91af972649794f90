"""What a teacher answers, looked at: a function or a SavedModel shows no softmax that could be refused."""

from tfqkd.compat import tf
from tfqkd.distillation.losses import are_probabilities


class Answers:
    """Notes inside a training step whether a teacher answers in probabilities, for a look from outside.

    A step may be compiled, where nothing can be raised; so it leaves a variable. Nothing is tracked by Keras
    or written to a checkpoint.
    """

    def __init__(self) -> None:
        self._probable = tf.Variable(
            False,
            trainable=False,
            name="answers_are_probabilities",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def note(self, answers: tf.Tensor) -> None:
        """Looks at the answers `[batch, classes]` to one batch; in a graph."""
        self._probable.assign(are_probabilities(answers))

    def require_logits(self) -> None:
        """Raises if the last batch that was noted had probabilities.

        Raises:
            ValueError: If it had.
        """
        if bool(tf.convert_to_tensor(self._probable)):
            raise ValueError(
                "A teacher must answer in logits: the temperature divides them before the softmax. Received: "
                "probabilities, rows without negative values whose sum is 1. Return what comes before the "
                "softmax, or the logarithm of the probabilities: lambda batch: tf.math.log(teacher(batch))."
            )
