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

    Both are Keras models, and `isinstance` knows both; subclass one of them, not this. A `Distiller` trains a
    student with `loss = (1-λ)·hard + λ·soft` (arXiv 1909.01688) plus its regularisers: `hard` is the compiled
    loss on the labels, `soft` the loss between the outputs of teacher and student, λ the coefficient. Both
    are means over the global batch, with sample and class weights. The compiled loss tells what the outputs
    are, or `task` does:

    - "softmax", of a categorical cross-entropy: the logits of classes, `[batch, ..., classes]`, at least two.
      `soft` is `losses.soft_loss` at the temperature, of the logits or of `losses.standardized` ones,
      `losses.decoupled_soft_loss`, `losses.correlation_soft_loss` or `losses.cosine_soft_loss`; teacher and
      student agree where both choose the same class.
    - "sigmoid", of a binary cross-entropy: a logit for each label, `[batch, ..., labels]`. `soft` is
      `losses.sigmoid_soft_loss`, the mean over labels; they agree on a label where both say yes or both no.
    - "regression", of a squared, absolute or like error: values, `[batch, ..., values]`. `soft` is
      `losses.squared_error`; the temperature does not matter, and there is nothing to agree on.

    Axes between batch and outputs are of time or of pixels: a decision for each. Methods add `terms`,
    `Σ weight·s(t)·loss`, each logged by its name; the networks that they train beside the student are in
    `beside`, and their weights among those of the distiller.

    `evaluate`, `predict` and calling it are the student's; quantize the student before it is bound here. The
    teacher is frozen, runs in inference mode, and is in no file and no checkpoint of the distiller.

    `fit` logs loss, hard_loss, soft_loss, agreement (share of examples or labels on which student and teacher
    agree), coefficient, temperature and the compiled metrics. Without a teacher's outputs it logs neither
    soft_loss nor agreement, and of a regression neither agreement nor temperature.

    `coefficient` and `temperature` are variables: assign to them at any time, or let a callback do it
    (`tfqkd.CoefficientScheduler`); nothing is traced or compiled again.

    Example:
        ```python
        distiller = tfqkd.Distiller(student=quantized, teacher=teacher, temperature=2.0, coefficient=0.5)
        distiller.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), ["accuracy"])
        distiller.fit(train, validation_data=test, epochs=10)
        ```

    Args:
        student: A model of tf_keras or Keras 3 that returns logits or values. By keyword, as the teacher:
            Keras' own Distiller has them the other way round.
        teacher: Any callable from the same batch to the same outputs: a model of the same Keras, an
            `Ensemble`, a function. Or `LOGITS_IN_BATCH`: training batches are `((x, teacher_logits), y)`, of
            any float type, such as a `TeacherCache` gives; those of `evaluate` and `predict` stay `x`.
        temperature: `T > 0`, finite, 2 by default; it divides both logits in the soft loss.
        coefficient: λ in [0, 1], 0.5 by default, the weight of the soft loss.
        soft_loss: "cross_entropy" (default, as in the paper), "kl", which has the same gradient and is zero
            at a match, or "none": the control, which scales the hard loss by 1-λ and asks no teacher. The
            squared error of a regression is both. For classes also "standardized", the KL of logits without
            their mean and deviation (arXiv 2403.01427), "dkd", decoupled distillation (arXiv 2203.08679),
            "dist", correlations within examples and within classes (arXiv 2205.10536), and "cosine", the
            angle between the probabilities (after the abstract of arXiv 2009.14502).
        soft_weight: Multiplies the soft loss besides λ, 0 or more: the small gradient of standardized logits
            has 10 in its paper's recipe. `balanced:R` finds it once, at the first step: the
            gradient of the soft loss is then R times that of the hard loss; it is logged as soft_loss_weight.
        dkd_beta: β of "dkd", 0 or more, 8 by default.
        scale_by_temperature_squared: Whether the soft loss is multiplied by `T²` (default, as in arXiv
            1503.02531), so that λ weighs the same at every temperature. The paper does not say.
        task: "softmax", "sigmoid" or "regression"; "auto" (default) reads it off the compiled loss. A loss
            of your own, a hinge and the like do not tell it.
        terms: What methods add to the loss (`fronts.terms.Term`). One that reads layers needs a Functional or
            Sequential model: the student, or the one live teacher.

    Raises:
        TypeError: If student or teacher is of no usable kind, or the teacher is a model of another Keras that
            cannot run on the student's batches.
        ValueError: If a setting is out of range, a model ends in softmax, or teacher and student take other
            batches or have other numbers of outputs.
    """

    def __new__(cls, *, student: Any, teacher: Any, **settings: Any) -> Any:
        """Returns the Distiller of the student's front."""
        made = of_front(student, "Distiller")
        for each in members(teacher):
            _require_one_keras(student, each)
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


def _require_one_keras(student: Any, teacher: Any) -> None:
    """Raises TypeError if a teacher is a model of another Keras that cannot run on the student's batches."""
    own, other = front_name(student), front_name(teacher)
    if own is None or other is None or own == other:
        return
    backend = sys.modules["keras"].backend.backend()
    if own == "tfmot" and backend == "tensorflow":
        return
    raise TypeError(
        f"Teacher and student must be models of the same Keras. Received: a student of {_CALLED[own]} and "
        f"a teacher of {_CALLED[other]} (Keras 3 runs on {backend}). Load the teacher's file with the "
        "student's Keras, or train on its logits: teacher=tfqkd.LOGITS_IN_BATCH."
    )
