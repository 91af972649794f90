"""What a teacher returns, looked at: a function or a SavedModel shows no softmax that could be refused."""

from tfqkd.compat import tf
from tfqkd.core.tasks import Task
from tfqkd.fronts.tfmot.replicas import copies, replica_variable


class TeacherOutputs:
    """Notes inside a training step whether a teacher returns probabilities, for a look from outside.

    A step may be compiled, where nothing can be raised; so it leaves a variable. Nothing is tracked by Keras
    or written to a checkpoint.
    """

    def __init__(self) -> None:
        self._counts = replica_variable([0, 0], tf.int64, "outputs_and_probabilities")

    def forget(self) -> None:
        """Forgets what was noted."""
        self._counts.assign([0, 0])

    def note(self, outputs: tf.Tensor, task: Task) -> None:
        """Looks at the outputs `[batch, outputs]` for one batch; in a graph."""
        if task.probabilities:
            counts = [tf.cast(count, tf.int64) for count in task.probabilities(outputs)]
            self._counts.assign_add(tf.stack(counts))

    def require_logits(self, task: Task) -> None:
        """Raises if all outputs that were noted were probabilities; forgets them.

        Raises:
            ValueError: If they were.
        """
        looked_at, probable = copies(self._counts).sum(axis=0)
        if looked_at < task.enough:
            return
        self.forget()
        task.require_logits(int(looked_at), int(probable))
