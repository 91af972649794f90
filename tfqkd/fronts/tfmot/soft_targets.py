"""The soft targets of a `Distiller`: what its teacher returns for a batch."""

from collections.abc import Sequence
from typing import Any

from tfqkd.compat import tf
from tfqkd.core.teachers import LOGITS_IN_BATCH
from tfqkd.fronts.logits import require_logits
from tfqkd.fronts.step_terms import Tapped
from tfqkd.fronts.tfmot.output_form import in_order
from tfqkd.fronts.tfmot.step_error import step_error
from tfqkd.fronts.tfmot.teachers import asked


class SoftTargets:
    """The outputs of a teacher, asked in the step or kept in the batch, and its layers that terms read.

    It is no model, list or dict: Keras would track a teacher in it, save it and count its weights.

    Args:
        teacher: What a `Distiller` takes.
        tasks: What each output is.
        names: Of the outputs.
        tapped: The teacher with the layers that terms read.
        compares: Whether a soft loss reads the outputs.

    Raises:
        TypeError: As `teachers.asked` does.
        ValueError: As `teachers.asked` does.
    """

    def __init__(
        self,
        teacher: object,
        tasks: Sequence[str],
        names: Sequence[str],
        tapped: Tapped,
        compares: bool,
    ) -> None:
        self._given = teacher
        self._names = names
        self._tapped = tapped
        self._in_batch = teacher is LOGITS_IN_BATCH
        asks = compares and not self._in_batch
        self._ask = asked(teacher, tasks, names) if asks else None

    def require_logits(self, tasks: dict[str, str]) -> None:
        """Raises ValueError if the teacher ends in what the losses of these tasks apply themselves."""
        require_logits(self._given, "teacher", tasks)

    def split(self, x: Any) -> tuple[Any, Any]:
        """Returns what of a batch the student takes, and the teacher's logits in it or None.

        Raises:
            ValueError: If the logits should be in it and are not; as the step is traced.
        """
        return _split(x) if self._in_batch else (x, None)

    def of(self, x: Any, kept: Any) -> tuple[list[tf.Tensor] | None, list[tf.Tensor]]:
        """Returns the teacher's outputs for a batch, None where no loss reads them, and its taps.

        Args:
            x: What the student takes.
            kept: The logits in the batch.
        """
        if self._tapped.names:
            returned, taps = self._tapped(x, training=False)
            outputs = [
                tf.stop_gradient(each) for each in in_order(returned, self._names, "teacher")
            ]
            return outputs, [tf.stop_gradient(tap) for tap in taps]
        if kept is not None:
            return in_order(kept, self._names, "teacher"), []
        return (self._ask(x) if self._ask else None), []


def _split(x: Any) -> tuple[Any, Any]:
    """Returns the images and the teacher's logits of the first half of a batch that has both.

    Args:
        x: `(x, teacher_logits)`.

    Raises:
        ValueError: If it is no such pair; as the step is traced.
    """
    if not (isinstance(x, tuple) and len(x) == 2):
        raise step_error(
            "With LOGITS_IN_BATCH every training batch must be ((x, teacher_logits), y). "
            f"Received: {tf.nest.map_structure(lambda t: t.shape, x)} for x. "
            "Train on TeacherCache.batches(...), or give the Distiller a teacher to ask."
        )
    images, logits = x
    return images, logits
