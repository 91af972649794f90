"""The arguments of a `Distiller`, looked at before anything is made of them."""

from tfqkd.compat import is_keras3, keras, tf
from tfqkd.core.tasks import require_task
from tfqkd.fronts.tfmot.shapes import declared_shape, require_takes
from tfqkd.fronts.tfmot.teachers import members


def require_settings(temperature: float, coefficient: float, soft_weight: float, task: str) -> None:
    """Raises if a setting of a `Distiller` is out of its range.

    Args:
        temperature: `T`.
        coefficient: λ.
        soft_weight: What multiplies the soft loss besides.
        task: What the outputs are.

    Raises:
        ValueError: If one is.
    """
    if not 0 < temperature < float("inf"):
        raise ValueError(
            f"`temperature` must be above 0 and finite. Received: temperature={temperature}. "
            "1 leaves the logits as they are; more softens them."
        )
    if not 0 <= coefficient <= 1:
        raise ValueError(
            f"`coefficient` must be in [0, 1]. Received: coefficient={coefficient}. "
            "It weighs the soft loss; the hard loss gets 1 - coefficient."
        )
    if not 0 <= soft_weight < float("inf"):
        raise ValueError(
            f"`soft_weight` must be 0 or more, and finite. Received: soft_weight={soft_weight}."
        )
    require_task(task)


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
    for each in members(teacher):
        if taken:
            require_takes(each, "teacher", tf.TensorSpec(taken))
        shapes = [getattr(model, "output_shape", None) for model in (student, each)]
        outputs = [shape[-1] for shape in shapes if isinstance(shape, tuple) and shape[-1]]
        if len(set(outputs)) > 1:
            raise ValueError(
                "Teacher and student must have the same outputs, those of the same classes. "
                f"Received: a student with {outputs[0]} and a teacher with {outputs[1]}. "
                "Train the teacher on the student's data set."
            )
