"""The soft term of a `Distiller`'s loss, as far as shapes go; each front adds the mean over its batches."""

import dataclasses
from typing import Any

from tfqkd.core.soft_loss import SoftLoss
from tfqkd.core.tasks import Task
from tfqkd.fronts.shapes import Shape, compatible


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

    def wrong_outputs(self, teacher: Shape | None, student: Shape | None) -> str | None:
        """Returns what is wrong with the shapes of outputs, as an error says it; None if nothing is.

        Args:
            teacher: That of the teacher's, if it is known.
            student: That of the student's.
        """
        if student is not None:
            try:
                self.task.require_outputs(student)
            except ValueError as error:
                return str(error)
        if teacher is None or student is None or compatible(teacher, student):
            return None
        return (
            f"Teacher and student must return outputs of the same shape. Received: teacher {teacher}, "
            f"student {student}. Train both on the same data."
        )
