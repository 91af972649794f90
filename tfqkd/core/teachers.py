"""Teachers that are no model: several as one, and answers that are known already."""

from collections.abc import Sequence
from typing import Any


class Ensemble:
    """Several teachers as one: the mean of their logits, or of the values of a regression.

    It holds them, and whoever teaches with it asks each as a teacher of its own. Ensembles may be members.

    Example:
        ```python
        teacher = tfqkd.Ensemble([resnet, lambda images: vit(images / 127.5 - 1.0)])
        ```

    Args:
        teachers: What a `Distiller` takes; each may bring its own preprocessing.

    Raises:
        ValueError: If there is none, or one of them twice, be it within an ensemble among them.
    """

    def __init__(self, teachers: Sequence[object]) -> None:
        self.teachers = list(teachers)
        if not self.teachers:
            raise ValueError("An ensemble needs at least one teacher. Received: none.")
        if len({id(teacher) for teacher in members(self)}) < len(members(self)):
            raise ValueError(
                "An ensemble must have different teachers: one twice is one that weighs more. "
                f"Received: {self.teachers}. Name each once."
            )


def members(teacher: object) -> list[Any]:
    """Returns the teachers of an ensemble, or of an ensemble of them; of another teacher itself."""
    if not isinstance(teacher, Ensemble):
        return [teacher]
    return [each for one in teacher.teachers for each in members(one)]


class LogitsInBatch:
    """The teacher whose logits come with the batch; use the one instance, `LOGITS_IN_BATCH`."""

    def __repr__(self) -> str:
        return "LOGITS_IN_BATCH"


LOGITS_IN_BATCH = LogitsInBatch()
"""A teacher for a `Distiller` that is trained on batches `((x, teacher_logits), y)`."""
