"""Whether batches are what student and teacher take."""

from typing import Any

from tfqkd.core.teachers import members
from tfqkd.fronts.shapes import model_shape, require_same_outputs, wrong_batch


def require_takes(model: Any, role: str, batch: Any) -> None:
    """Raises if a model declares to take batches of another shape than this one.

    Args:
        model: A Keras 3 model; any other object passes.
        role: What the error calls it: "teacher" or "student".
        batch: A tensor, or what else a model takes, which passes.

    Raises:
        ValueError: If the shapes differ; a last axis of one may be missing or too many, as Keras allows.
    """
    shape = getattr(batch, "shape", None)
    _require(model, role, None if shape is None else tuple(shape))


def require_same_shapes(student: Any, teacher: object) -> None:
    """Raises if what student and teachers declare to take and to return shows that they differ.

    Raises:
        ValueError: If they take other batches, or have other numbers of outputs.
    """
    for each in members(teacher):
        _require(each, "teacher", model_shape(student))
    require_same_outputs(student, teacher)


def _require(model: Any, role: str, shape: Any) -> None:
    wrong = wrong_batch(model_shape(model), shape, role, "keras.ops.image.resize")
    if wrong:
        raise ValueError(wrong)
