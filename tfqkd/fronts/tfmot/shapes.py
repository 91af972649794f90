"""Shapes of batches: what a model or a SavedModel declares to take, and whether a batch is such."""

from typing import Any

from tfqkd.compat import tf
from tfqkd.fronts.shapes import Shape, model_shape, wrong_batch
from tfqkd.fronts.tfmot.step_error import step_error


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
    return model_shape(model)


def known_shape(tensor: Any) -> Shape | None:
    """Returns the shape of a tensor or an array; None for what shows none."""
    shape = tf.TensorShape(getattr(tensor, "shape", None))
    return None if shape.rank is None else tuple(shape)


def require_takes(model: Any, role: str, batch: Any) -> None:
    """Raises if a model declares to take batches of another shape than this one.

    Args:
        model: What `declared_shape` takes; any other object passes.
        role: What the error calls it: "teacher" or "student".
        batch: A tensor or an array.

    Raises:
        ValueError: If the shapes differ; a last axis of one may be missing or too many, as Keras allows.
    """
    wrong = wrong_batch(declared_shape(model), known_shape(batch), role, "tf.image.resize")
    if wrong:
        raise step_error(wrong)
