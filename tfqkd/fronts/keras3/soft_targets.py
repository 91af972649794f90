"""The soft targets of a `Distiller`: what its teacher returns for a batch."""

from collections.abc import Sequence
from typing import Any

import keras

from tfqkd.core.teachers import LOGITS_IN_BATCH
from tfqkd.fronts.keras3.teachers import Teacher
from tfqkd.fronts.step_terms import Tapped


class SoftTargets:
    """The outputs of a teacher, asked in the step or kept in the batch, and its layers that terms read.

    Attributes:
        teacher: What is asked; None where nothing is.

    Args:
        student: The model that is trained.
        teacher: What a `Distiller` takes.
        task: What the outputs are.
        tapped: The teacher with the layers that terms read.
        compares: Whether a soft loss reads the outputs.

    Raises:
        TypeError: As `Teacher` does.
        ValueError: As `Teacher` does.
    """

    def __init__(
        self, student: keras.Model, teacher: object, task: str, tapped: Tapped, compares: bool
    ) -> None:
        self._student, self._tapped = student, tapped
        self._in_batch = teacher is LOGITS_IN_BATCH
        self.is_read = compares or bool(tapped.names)
        asks = self.is_read and not self._in_batch
        self.teacher = Teacher(teacher, task) if asks else None

    @property
    def variables(self) -> list[keras.Variable]:
        """Those of the teacher; see `Teacher`."""
        return self.teacher.variables if self.teacher else []

    def inputs(self, x: Any) -> Any:
        """Returns what of a batch the student takes: all of it, or what comes before the teacher's logits."""
        taken = len(getattr(self._student, "inputs", None) or [x])
        with_logits = len(keras.tree.flatten(x)) == taken + 1
        return x[0] if self._in_batch and with_logits else x

    def of(self, x: Any) -> tuple[Any, Sequence[Any]]:
        """Returns the teacher's outputs for a batch, and those of its layers that terms read.

        Raises:
            ValueError: If the logits should be in the batch and are not; as the step is traced.
        """
        if self.teacher:
            return self.teacher(x, self._tapped)
        if self.inputs(x) is x:
            raise ValueError(
                "With LOGITS_IN_BATCH every training batch must be ((x, teacher_logits), y). "
                f"Received: {keras.tree.map_structure(lambda t: t.shape, x)} for x. "
                "Or give the Distiller a teacher to ask."
            )
        return keras.ops.cast(x[1], "float32"), ()
