"""Student and teacher of a `Distiller`, looked at before anything is made of them."""

from collections.abc import Sequence

from tfqkd.compat import is_keras3, keras, tf
from tfqkd.core.teachers import members
from tfqkd.fronts.shapes import require_same_outputs
from tfqkd.fronts.terms import Term
from tfqkd.fronts.tfmot.shapes import declared_shape, require_takes


def require_student(student: object) -> None:
    """Raises if a student is no tf_keras model.

    Raises:
        TypeError: If it is none.
    """
    if not isinstance(student, keras.Model):
        hint = " It is a Keras 3 model." if is_keras3(student) else ""
        raise TypeError(
            f"The student must be a tf_keras model. Received: {type(student)}.{hint} "
            "Build it with `from tfqkd.compat import keras`."
        )


def require_same_shapes(student: keras.Model, teacher: object) -> None:
    """Raises if what student and teachers declare to take and to return shows that they differ.

    Raises:
        ValueError: If they take other batches, or have other numbers of outputs.
    """
    taken = declared_shape(student)
    if taken:
        for each in members(teacher):
            require_takes(each, "teacher", tf.TensorSpec(taken))
    require_same_outputs(student, teacher)


def require_one_output(terms: Sequence[Term], names: Sequence[str]) -> None:
    """Raises ValueError if methods add terms to the loss of a student with several outputs."""
    if terms and len(names) > 1:
        raise ValueError(
            "Methods add terms to the loss of a student with one output. Received: "
            f"{len(terms)} terms for the outputs {', '.join(names)}. Leave the methods out."
        )
