"""What the steps of a `Distiller` noted of labels and of a teacher's outputs, looked at outside the graph."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tfqkd.compat import keras, tf
from tfqkd.core.tasks import Task
from tfqkd.fronts.hard_loss import HardLoss
from tfqkd.fronts.tfmot.labels import Labels
from tfqkd.fronts.tfmot.metrics import build_ahead
from tfqkd.fronts.tfmot.teacher_outputs import TeacherOutputs


class Inspection:
    """Notes labels and a teacher's outputs inside a step, and raises errors about them outside.

    Args:
        outputs: How many the student has.
    """

    def __init__(self, outputs: int) -> None:
        self._teacher = [TeacherOutputs() for _ in range(outputs)]
        self._labels = [Labels() for _ in range(outputs)]

    def forget(self) -> None:
        """Forgets what was noted."""
        for teacher, labels in zip(self._teacher, self._labels, strict=True):
            teacher.forget()
            labels.forget()

    def note_labels(
        self,
        labels: Sequence[Any],
        outputs: Sequence[tf.Tensor],
        hard: Sequence[HardLoss | None],
    ) -> list[Any]:
        """Returns the labels of each output of a batch, once they are noted; see `Labels.note`."""
        given = zip(self._labels, labels, outputs, hard, strict=True)
        return [
            label if loss is None or label is None else noting.note(label, output, loss)
            for noting, label, output, loss in given
        ]

    def note_targets(self, targets: Sequence[tf.Tensor], tasks: Sequence[Task | None]) -> None:
        """Notes the teacher's outputs for a batch; see `TeacherOutputs.note`."""
        for noting, target, task in zip(self._teacher, targets, tasks, strict=True):
            if task is not None:
                noting.note(target, task)

    def require_logits(self, tasks: Sequence[Task | None]) -> None:
        """Raises ValueError if all that was noted of an output are probabilities."""
        for noted, task in zip(self._teacher, tasks, strict=True):
            if task is not None:
                noted.require_logits(task)

    @contextlib.contextmanager
    def labels_explained(self) -> Iterator[None]:
        """Looks at the labels when steps are made, or when one failed, as a loss does on a CPU."""
        try:
            yield
        except tf.errors.InvalidArgumentError:
            self._require_in_range()
            raise
        self._require_in_range()

    def _require_in_range(self) -> None:
        for labels in self._labels:
            labels.require_in_range()


def looking_once(
    model: keras.Model,
    execute: Callable[[Any], Any],
    inspection: Inspection,
    require_logits: Callable[[], None],
) -> Callable[[Any], Any]:
    """Returns a train function whose first call also looks at the labels and the teacher's outputs.

    Args:
        model: The distiller that has this train function; after the first call, `execute`.
        execute: Makes steps on an iterator's batches.
        inspection: What the steps note in.
        require_logits: Raises if the teacher's outputs are no logits.
    """

    def look_once(iterator: Any) -> Any:
        build_ahead(model, model.student, iterator)
        with inspection.labels_explained():
            logs = execute(iterator)
        if model.train_function is look_once:
            model.train_function = execute
            require_logits()
        return logs

    return look_once
