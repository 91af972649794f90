"""The front of a model: found by the Keras that its class comes from, without importing any."""

import importlib
import sys
from typing import Any, NoReturn

from tfqkd.core.teachers import members

_FRONTS = {"tf_keras": "tfmot", "keras": "keras3"}
"""The front of each Keras, by the package of its classes."""
_CALLED = {"tfmot": "tf_keras", "keras3": "Keras 3"}


def front_name(model: object) -> str | None:
    """Returns "tfmot" for a model of tf_keras, "keras3" for one of Keras 3, None for anything else."""
    packages = (cls.__module__.partition(".")[0] for cls in type(model).__mro__)
    return next((_FRONTS[package] for package in packages if package in _FRONTS), None)


def of_front(model: object, name: str) -> Any:
    """Returns what the front of a model calls so; only that front is imported.

    Args:
        model: A model of tf_keras or of Keras 3.
        name: One that `tfqkd.tfmot` and `tfqkd.keras3` share.

    Raises:
        TypeError: If the model is of neither, or its front has no such name.
    """
    front = _front_of(model)
    found = getattr(importlib.import_module(f"tfqkd.fronts.{front}"), name, None)
    if found is None:
        raise TypeError(
            f"tfqkd.{front} must have `{name}` for a model of {_CALLED[front]}; it has none yet. "
            f"Received: {type(model)}. Build the model with another Keras."
        )
    return found


def module_of(model: object, name: str) -> Any:
    """Returns the module of a name of a model's front, for what both fronts have and do not show.

    Args:
        model: A model of tf_keras or of Keras 3.
        name: Of a module that both fronts have.

    Raises:
        TypeError: If the model is of neither.
    """
    return importlib.import_module(f"tfqkd.fronts.{_front_of(model)}.{name}")


def quantize_model(model: Any, *args: Any, **kwargs: Any) -> Any:
    """Returns a copy of a model whose kernels are quantized in the forward pass and trained as floats.

    Example:
        ```python
        quantized = tfqkd.quantize_model(model, tfqkd.TernaryScheme())
        quantized = tfqkd.quantize_model(model, layers={"stage3.*": 4, "logits": 8})
        ```

    Args:
        model: A trained model of tf_keras or Keras 3.
        *args: As for `quantize_model` of `tfqkd.tfmot` or `tfqkd.keras3`: the scheme and the layers.
        **kwargs: As for that.

    Raises:
        TypeError: If the model is of no Keras.
        ValueError: If it cannot be quantized so.
    """
    return of_front(model, "quantize_model")(model, *args, **kwargs)


def strip_quantization(model: Any) -> Any:
    """Returns a plain model with the quantized weights, to be saved or exported.

    Args:
        model: What `quantize_model` returned, trained or not.

    Raises:
        TypeError: If the model is of no Keras.
    """
    return of_front(model, "strip_quantization")(model)


def quantization_summary(model: Any, *args: Any, **kwargs: Any) -> Any:
    """Returns what is quantized in a model and how: a row for each kernel and each quantized activation.

    Args:
        model: Of tf_keras or Keras 3, quantized or not.
        *args: As for `quantization_summary` of `tfqkd.tfmot` or `tfqkd.keras3`.
        **kwargs: As for that.

    Raises:
        TypeError: If the model is of no Keras.
    """
    return of_front(model, "quantization_summary")(model, *args, **kwargs)


class _OfEitherFront(type):
    """Lets `isinstance` know the Distillers of both fronts."""

    def __instancecheck__(cls, instance: object) -> bool:
        return any(
            base.__name__ == "Distiller" and base.__module__.startswith("tfqkd.")
            for base in type(instance).__mro__
        )


class Distiller(metaclass=_OfEitherFront):
    """Makes the `Distiller` of the student's Keras: `tfqkd.tfmot.Distiller` or `tfqkd.keras3.Distiller`.

    What it returns is one of those two, which are Keras models; `isinstance` knows both. Their own
    documentation says what they take. Subclass one of them, not this.

    Example:
        ```python
        distiller = tfqkd.Distiller(student=quantized, teacher=teacher, temperature=2.0, coefficient=0.5)
        distiller.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), ["accuracy"])
        distiller.fit(train, validation_data=test, epochs=10)
        ```

    Args:
        student: A model of tf_keras or Keras 3.
        teacher: A model of the same Keras, or what else the student's Distiller takes.
        **settings: As for that.

    Raises:
        TypeError: If the student is of no Keras, or the teacher of one that cannot answer to it.
        ValueError: If a setting is out of range.
    """

    def __new__(cls, *, student: Any, teacher: Any, **settings: Any) -> Any:
        """Returns the Distiller of the student's front."""
        made = of_front(student, "Distiller")
        for each in members(teacher):
            _require_answers(student, each)
        return made(student=student, teacher=teacher, **settings)

    def __init_subclass__(cls) -> NoReturn:
        raise TypeError(
            "tfqkd.Distiller only chooses a class by the student. "
            f"Received: {cls.__name__} as a subclass of it. Subclass tfqkd.tfmot.Distiller (tf_keras) or "
            "tfqkd.keras3.Distiller."
        )


def _front_of(model: object) -> str:
    front = front_name(model)
    if front is None:
        raise TypeError(
            "A model must be of tf_keras or of Keras 3. "
            f"Received: {type(model)}. Build it with `from tfqkd.compat import keras`, or with Keras 3."
        )
    return front


def _require_answers(student: Any, teacher: Any) -> None:
    """Raises TypeError if a teacher is a model of another Keras that cannot compute what the student does."""
    own, other = front_name(student), front_name(teacher)
    if own is None or other is None or own == other:
        return
    backend = sys.modules["keras"].backend.backend()
    if own == "tfmot" and backend == "tensorflow":
        return
    raise TypeError(
        f"Teacher and student must be models of one Keras. Received: a student of {_CALLED[own]} and a "
        f"teacher of {_CALLED[other]} (Keras 3 runs on {backend}). Load the teacher's file with the "
        "student's Keras, or train on its logits: teacher=tfqkd.LOGITS_IN_BATCH."
    )
