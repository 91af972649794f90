"""The hard loss: what the loss that a `Distiller` is compiled with says of the student's outputs."""

import dataclasses
import functools
import inspect
from collections.abc import Mapping
from typing import Any, Literal

from tfqkd.compat import keras, tf
from tfqkd.core.tasks import AUTO, TASKS, Task
from tfqkd.fronts.tfmot.step_error import step_error

_keras = keras.losses
Labels = Literal["classes", "one-hot", "binary"] | None
# What the outputs are, and what the labels are, by the function that computes the loss.
_KNOWN: dict[Any, tuple[str, Labels]] = {
    _keras.sparse_categorical_crossentropy: ("softmax", "classes"),
    _keras.categorical_crossentropy: ("softmax", "one-hot"),
    _keras.categorical_focal_crossentropy: ("softmax", "one-hot"),
    tf.nn.sparse_softmax_cross_entropy_with_logits: ("softmax", "classes"),
    tf.nn.softmax_cross_entropy_with_logits: ("softmax", "one-hot"),
    _keras.binary_crossentropy: ("sigmoid", "binary"),
    _keras.binary_focal_crossentropy: ("sigmoid", "binary"),
    tf.nn.sigmoid_cross_entropy_with_logits: ("sigmoid", "binary"),
    _keras.mean_squared_error: ("regression", None),
    _keras.mean_absolute_error: ("regression", None),
    _keras.mean_absolute_percentage_error: ("regression", None),
    _keras.mean_squared_logarithmic_error: ("regression", None),
    _keras.huber: ("regression", None),
    _keras.log_cosh: ("regression", None),
}
# Losses whose outputs may be several things, and what to compile instead.
_INSTEAD = {
    _keras.hinge: "BinaryCrossentropy(from_logits=True) with labels 0 and 1",
    _keras.squared_hinge: "BinaryCrossentropy(from_logits=True) with labels 0 and 1",
    _keras.categorical_hinge: "CategoricalCrossentropy(from_logits=True)",
    _keras.kl_divergence: "CategoricalCrossentropy(from_logits=True), whose gradient is the same",
    _keras.poisson: "MeanSquaredError()",
    _keras.cosine_similarity: "MeanSquaredError()",
}
_TASKS = (
    "task='softmax' (classes), 'sigmoid' (labels that are each yes or no) or 'regression' (values)"
)


@dataclasses.dataclass(frozen=True)
class HardLoss:
    """A compiled loss, as far as it can be read.

    Attributes:
        name: Of its class or function.
        function: What computes it: Keras' own function behind its classes, names and partial functions.
        settings: Its settings, where they are known: `from_logits`, `axis`, `ignore_class`.
        reduction: How Keras reduces it over the batch, where it says so.
    """

    name: str
    function: Any
    settings: Mapping[str, Any]
    reduction: str | None

    @property
    def labels(self) -> Labels:
        """What labels it takes: numbers of classes, one-hot rows, yes or no; None if any."""
        return _KNOWN.get(self.function, (None, None))[1]

    def task(self, given: str) -> Task:
        """Returns the task that was given, or for "auto" the one that the loss tells.

        Raises:
            ValueError: If it is "auto" and the loss does not tell.
        """
        if given != AUTO:
            return TASKS[given]
        if self.function in _KNOWN:
            return TASKS[_KNOWN[self.function][0]]
        instead = _INSTEAD.get(self.function)
        raise ValueError(
            "The compiled loss must tell what the student's outputs are, or `task` must. Received: "
            f"loss={self.name}, task='auto'. "
            + (f"Compile keras.losses.{instead}; or pass " if instead else "Pass ")
            + f"{_TASKS} to the Distiller."
        )


def read_loss(compiled: Any) -> HardLoss | None:
    """Reads what `compile` was given as `loss`: a name, function or object, alone or in a list or dict.

    Args:
        compiled: The loss of a student with one output.

    Returns:
        The loss, or None if there is none.

    Raises:
        ValueError: If there are several, it expects probabilities, its classes are not in the last axis, or
            it does not average over the batch.
    """
    given = [_keras.get(loss) for loss in tf.nest.flatten(compiled) if loss is not None]
    if not given:
        return None
    if len(given) > 1:
        raise ValueError(
            "A student has one output, and one hard loss. "
            f"Received: {len(given)} losses. Compile the one of its output."
        )
    loss = given[0]
    hard = HardLoss(
        name=getattr(_unwrapped(loss), "__name__", type(loss).__name__),
        function=_unwrapped(getattr(loss, "fn", loss)),
        settings=_settings(loss),
        reduction=getattr(loss, "reduction", None),
    )
    _require_logits(hard)
    _require_mean(hard)
    return hard


def require_hard_loss(hard: HardLoss | None, labels: Any) -> HardLoss:
    """Returns the hard loss of a step; raises if there is none, or no labels for it.

    Raises:
        ValueError: If so; as the step is traced.
    """
    if hard is None:
        raise step_error(
            "A Distiller must be compiled with a hard loss. Received: loss=None. Compile it with "
            "keras.losses.SparseCategoricalCrossentropy(from_logits=True), say; coefficient=1.0 trains "
            "on the teacher alone."
        )
    if labels is None:
        raise step_error(
            "A hard loss needs labels. Received: batches without labels. Pass (x, y); with "
            "coefficient=1.0 it does not matter which labels, as long as they are in range."
        )
    return hard


def _unwrapped(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _settings(loss: Any) -> dict[str, Any]:
    """The defaults of the function's parameters, and over them what an object was given."""
    try:
        parameters = list(inspect.signature(getattr(loss, "fn", loss)).parameters.values())
    except (TypeError, ValueError):  # Some callables show no signature.
        parameters = []
    defaults = {each.name: each.default for each in parameters if each.default is not each.empty}
    is_object = hasattr(loss, "get_config") and not isinstance(loss, type)
    return {**defaults, **(loss.get_config() if is_object else {})}


def _require_logits(hard: HardLoss) -> None:
    if hard.function is not _keras.kl_divergence and hard.settings.get("from_logits", True):
        return
    words = hard.function.__name__.split("_") if hard.labels else ["SparseCategoricalCrossentropy"]
    same = "".join(word[0].upper() + word[1:] for word in words) + "(from_logits=True)"
    raise ValueError(
        "The hard loss must take logits: the student returns them. "
        f"Received: loss={hard.name}, which takes probabilities. "
        f"Pass e.g. keras.losses.{_INSTEAD.get(hard.function, same)}."
    )


def _require_mean(hard: HardLoss) -> None:
    """Raises unless the loss is a mean over the batch and reads the classes where the soft loss does."""
    averages = (None, _keras.Reduction.AUTO, _keras.Reduction.SUM_OVER_BATCH_SIZE)
    if hard.reduction not in averages:
        raise ValueError(
            "The hard loss must average over the batch, as the soft loss does. "
            f"Received: reduction={hard.reduction!r}. Leave `reduction` at its default."
        )
    axis = hard.settings.get("axis", -1)
    if hard.labels and axis != -1:
        raise ValueError(
            "The hard loss must find the classes in the last axis, as the soft loss does. "
            f"Received: axis={axis}. Leave `axis` at -1; transpose the student's outputs."
        )
