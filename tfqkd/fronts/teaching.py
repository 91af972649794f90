"""What the distillers of all fronts get of a run: its teachers as one, and the settings of its losses."""

from collections.abc import Sequence
from typing import Any

from tfqkd.core.teachers import LOGITS_IN_BATCH, Ensemble
from tfqkd.fronts.settings import Distillation


def together(teachers: Sequence[Any], distillation: Distillation | None = None) -> Any:
    """Returns several teachers as one, combined as the distillation says."""
    if len(teachers) == 1:
        return teachers[0]
    return Ensemble(teachers, *(distillation.combination() if distillation else ()))


def taught_by(
    teachers: Sequence[Any], kept: bool, distillation: Distillation | None
) -> dict[str, Any]:
    """Returns the arguments of a `Distiller` that tell how it is taught; see `fronts.front.Front.taught`."""
    teacher = together(teachers, distillation) if teachers else None
    if kept:
        teacher = LOGITS_IN_BATCH
    if distillation is None:
        # The terms teach alone.
        return {"teacher": teacher, "coefficient": 0.0, "soft_loss": "none"}
    return {"teacher": teacher, "coefficient": distillation.coefficient(0.0), **distillation.soft()}
