"""What the steps of a `Distiller` noted of labels and answers, looked at from outside the graph."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from tfqkd.compat import keras, tf
from tfqkd.core.tasks import Task
from tfqkd.fronts.hard_loss import HardLoss
from tfqkd.fronts.tfmot.labels import Labels
from tfqkd.fronts.tfmot.metrics import build_ahead
from tfqkd.fronts.tfmot.teacher_outputs import TeacherOutputs


class Inspection:
    """Notes labels and a teacher's answers inside a step, and raises of them outside."""

    def __init__(self) -> None:
        self._outputs = TeacherOutputs()
        self._labels = Labels()

    def forget(self) -> None:
        """Forgets what was noted."""
        self._outputs.forget()
        self._labels.forget()

    def note_labels(self, labels: Any, outputs: tf.Tensor, hard: HardLoss) -> Any:
        """Returns the labels of a batch, once they are noted; see `Labels.note`."""
        return self._labels.note(labels, outputs, hard)

    def note_answers(self, answers: tf.Tensor, task: Task) -> None:
        """Notes the answers to a batch; see `TeacherOutputs.note`."""
        self._outputs.note(answers, task)

    def require_logits(self, task: Task) -> None:
        """Raises ValueError if all answers that were noted are probabilities; see `TeacherOutputs`."""
        self._outputs.require_logits(task)

    @contextlib.contextmanager
    def labels_explained(self) -> Iterator[None]:
        """Looks at the labels when steps are made, or when one failed, as a loss does on a CPU."""
        try:
            yield
        except tf.errors.InvalidArgumentError:
            self._labels.require_in_range()
            raise
        self._labels.require_in_range()


def looking_once(
    model: keras.Model,
    execute: Callable[[Any], Any],
    inspection: Inspection,
    require_answers: Callable[[], None],
) -> Callable[[Any], Any]:
    """Returns a train function whose first call also looks at the labels and the teacher's answers.

    Args:
        model: The distiller that has this train function; after the first call, `execute`.
        execute: Makes steps on an iterator's batches.
        inspection: What the steps note in.
        require_answers: Raises if the answers are no logits.
    """

    def look_once(iterator: Any) -> Any:
        build_ahead(model, model.student, iterator)
        with inspection.labels_explained():
            logs = execute(iterator)
        if model.train_function is look_once:
            model.train_function = execute
            require_answers()
        return logs

    return look_once
