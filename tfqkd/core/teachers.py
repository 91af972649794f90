"""Teachers that are no model: several as one, and logits that are known already."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfqkd.core.combining import LOGITS, combined, require_combination
from tfqkd.core.ops import Ops, Tensor


class Ensemble:
    """Several teachers as one: by default the mean of their logits, or of the values of a regression.

    It holds them, and whoever teaches with it asks each as a teacher of its own. Ensembles may be members.

    Example:
        ```python
        teacher = tfqkd.Ensemble([resnet, lambda images: vit(images / 127.5 - 1.0)])
        ```

    Args:
        teachers: What a `Distiller` takes; each may bring its own preprocessing.
        combine: "logits"; or, for the classes of one softmax, "probabilities" or "confidence": see
            `core.combining.combined`.
        temperature: T > 0 at which probabilities are combined: that of the soft loss.

    Raises:
        ValueError: If there is none, or one of them twice, also within an ensemble among them; or if a
            setting is unknown.
    """

    def __init__(
        self, teachers: Sequence[object], combine: str = LOGITS, temperature: float = 1.0
    ) -> None:
        require_combination(combine)
        if not 0 < temperature < float("inf"):
            raise ValueError(
                f"The temperature of an ensemble must be above 0 and finite. Received: {temperature}."
            )
        self.teachers = list(teachers)
        self.combine, self.temperature = combine, temperature
        if not self.teachers:
            raise ValueError("An ensemble needs at least one teacher. Received: none.")
        if len({id(teacher) for teacher in members(self)}) < len(members(self)):
            raise ValueError(
                "The teachers of an ensemble must be different: a teacher that is listed twice counts "
                f"twice. Received: {self.teachers}. Name each once."
            )

    def combined(self, outputs: Sequence[Tensor], ops: Ops | None = None) -> Tensor:
        """Returns the outputs of the teachers as those of one; see `core.combining.combined`."""
        return combined(outputs, self.combine, self.temperature, ops)


def members(teacher: object) -> list[Any]:
    """Returns the teachers of an ensemble, or of an ensemble of them; of another teacher itself."""
    if not isinstance(teacher, Ensemble):
        return [teacher]
    return [each for one in teacher.teachers for each in members(one)]


def require_combinable(teacher: object, tasks: Mapping[str, str]) -> None:
    """Raises ValueError if an ensemble combines probabilities of outputs that are no classes.

    Args:
        teacher: What a `Distiller` has as teacher.
        tasks: What each output is; "auto" while it is not known.
    """
    if not isinstance(teacher, Ensemble):
        return
    others = [task for task in tasks.values() if task not in ("softmax", "auto")]
    if teacher.combine != LOGITS and others:
        raise ValueError(
            f"Teachers are combined by {teacher.combine} for the classes of one softmax. "
            f"Received: task={others[0]!r}. Take combine='logits'."
        )
    for each in teacher.teachers:
        require_combinable(each, tasks)


class LogitsInBatch:
    """The teacher whose logits come with the batch; use the one instance, `LOGITS_IN_BATCH`."""

    def __repr__(self) -> str:
        return "LOGITS_IN_BATCH"


LOGITS_IN_BATCH = LogitsInBatch()
"""A teacher for a `Distiller` that is trained on batches `((x, teacher_logits), y)`."""
