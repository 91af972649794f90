"""Shapes of batches: what a model declares to take, and whether a batch is such."""

from typing import Any

from tfqkd.compat import tf
from tfqkd.fronts.tfmot.step_error import step_error

Shape = tuple[int | None, ...]


def declared_shape(model: Any) -> Shape | None:
    """Returns the shape of batches that a model or a SavedModel declares to take.

    Args:
        model: Of tf_keras or Keras 3, what `tf.saved_model.load` returns, or a signature of it.

    Returns:
        The shape of its one input, or None if it has several or declares none.
    """
    if hasattr(model, "signatures") and "serving_default" in model.signatures:
        return declared_shape(model.signatures["serving_default"])
    signature = getattr(model, "structured_input_signature", None)
    if signature is not None:
        inputs = tf.nest.flatten(signature)
        return tuple(inputs[0].shape) if len(inputs) == 1 and inputs[0].shape.rank else None
    shape = getattr(model, "input_shape", None)
    if isinstance(shape, tuple) and all(size is None or type(size) is int for size in shape):
        return shape
    return None


def require_takes(model: Any, role: str, batch: Any) -> None:
    """Raises if a model declares to take batches of another shape than this one.

    Args:
        model: What `declared_shape` takes; any other object passes.
        role: What the error calls it: "teacher" or "student".
        batch: A tensor or an array.

    Raises:
        ValueError: If the shapes differ; a last axis of one may be missing or too many, as Keras allows.
    """
    declared, shape = declared_shape(model), tf.TensorShape(getattr(batch, "shape", None))
    if declared is None or shape.rank is None:
        return
    wanted, found = list(declared[1:]), list(shape[1:])
    if len(found) == len(wanted) + 1 and found[-1] == 1:
        found.pop()
    elif len(wanted) == len(found) + 1 and wanted[-1] == 1:
        wanted.pop()
    if not tf.TensorShape(wanted).is_compatible_with(found):
        raise step_error(
            "Teacher and student must take the batches that the student is trained on. Received: "
            f"a batch of shape {tuple(shape)} for a {role} that takes {declared}. {_advice(role, wanted)}"
        )


def _advice(role: str, wanted: list[int | None]) -> str:
    if role == "student":
        return "Train it on such."
    if len(wanted) == 3 and wanted[0] and wanted[1]:
        return f"Pass as teacher: lambda batch: teacher(tf.image.resize(batch, {wanted[:2]}))."
    return "Pass a function that gives the teacher what it takes."
