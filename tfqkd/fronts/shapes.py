"""Shapes of batches and outputs, as tuples: what a model declares, and what fits it; of either Keras."""

from collections.abc import Sequence
from typing import Any

from tfqkd.core.teachers import members

Shape = tuple[int | None, ...]


def model_shape(model: Any) -> Shape | None:
    """Returns the shape of batches that a model declares to take; None if it has several inputs or none."""
    shape = getattr(model, "input_shape", None)
    if isinstance(shape, tuple) and all(size is None or type(size) is int for size in shape):
        return shape
    return None


def compatible(one: Sequence[int | None], other: Sequence[int | None]) -> bool:
    """Returns whether two shapes may be of one tensor; None is any size."""
    pairs = zip(one, other, strict=False)
    return len(one) == len(other) and all(a is None or b is None or a == b for a, b in pairs)


def wrong_batch(declared: Shape | None, shape: Shape | None, role: str, resize: str) -> str | None:
    """Returns what is wrong with a batch for a model, as an error says it; None if it fits.

    Args:
        declared: The shape that the model declares to take, if it does.
        shape: The batch's, if it is known; a last axis of one may be missing or too many, as Keras allows.
        role: What the error calls the model: "teacher" or "student".
        resize: The function that resizes images, for the advice.
    """
    if declared is None or shape is None:
        return None
    wanted, found = list(declared[1:]), list(shape[1:])
    if len(found) == len(wanted) + 1 and found[-1] == 1:
        found.pop()
    elif len(wanted) == len(found) + 1 and wanted[-1] == 1:
        wanted.pop()
    if compatible(wanted, found):
        return None
    return (
        "Teacher and student must take the batches that the student is trained on. Received: "
        f"a batch of shape {shape} for a {role} that takes {declared}. {_advice(role, wanted, resize)}"
    )


def require_same_outputs(student: Any, teacher: object) -> None:
    """Raises if what student and teachers declare to return shows that they differ.

    Raises:
        ValueError: If they have other numbers of outputs.
    """
    for each in members(teacher):
        own, other = (_sizes(model) for model in (student, each))
        if not own or not other:
            continue
        # By name where both have the same ones, else in order.
        names = own if set(own) == set(other) else None
        sizes = [list(own.values()), [other[n] for n in names] if names else list(other.values())]
        if sizes[0] != sizes[1]:
            said = [", ".join(map(str, each)) for each in sizes]
            raise ValueError(
                "Teacher and student must have the same outputs, those of the same classes. "
                f"Received: a student with {said[0]} and a teacher with {said[1]}. "
                "Train the teacher on the student's data set."
            )


def _sizes(model: Any) -> dict[str, int]:
    """The last sizes of a model's outputs by name; none if it does not show all."""
    shape = getattr(model, "output_shape", None)
    if isinstance(shape, list):
        shape = dict(zip(model.output_names, shape, strict=True))
    shapes = shape if isinstance(shape, dict) else {"": shape}
    sizes = {
        name: each[-1]
        for name, each in shapes.items()
        if isinstance(each, tuple) and each and each[-1]
    }
    return sizes if len(sizes) == len(shapes) else {}


def _advice(role: str, wanted: list[int | None], resize: str) -> str:
    if role == "student":
        return "Train it on such."
    if len(wanted) == 3 and wanted[0] and wanted[1]:
        return f"Pass as teacher: lambda batch: teacher({resize}(batch, {wanted[:2]}))."
    return "Pass a function that gives the teacher what it takes."
