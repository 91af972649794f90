"""The hard loss: what a compiled loss says of outputs and labels; of either Keras."""

import dataclasses
import functools
import inspect
from collections.abc import Collection, Mapping
from typing import Any, Literal

from tfqkd.core.tasks import AUTO, TASKS, Task

Labels = Literal["classes", "one-hot", "binary"] | None

_KNOWN: dict[str, tuple[str, Labels]] = {
    "sparse_categorical_crossentropy": ("softmax", "classes"),
    "categorical_crossentropy": ("softmax", "one-hot"),
    "categorical_focal_crossentropy": ("softmax", "one-hot"),
    "sparse_softmax_cross_entropy_with_logits": ("softmax", "classes"),
    "softmax_cross_entropy_with_logits": ("softmax", "one-hot"),
    "binary_crossentropy": ("sigmoid", "binary"),
    "binary_focal_crossentropy": ("sigmoid", "binary"),
    "sigmoid_cross_entropy_with_logits": ("sigmoid", "binary"),
    "mean_squared_error": ("regression", None),
    "mean_absolute_error": ("regression", None),
    "mean_absolute_percentage_error": ("regression", None),
    "mean_squared_logarithmic_error": ("regression", None),
    "huber": ("regression", None),
    "log_cosh": ("regression", None),
}
"""What the outputs are, and what the labels are, by the function of Keras or TensorFlow that computes it."""

_INSTEAD = {
    "hinge": "BinaryCrossentropy(from_logits=True) with labels 0 and 1",
    "squared_hinge": "BinaryCrossentropy(from_logits=True) with labels 0 and 1",
    "categorical_hinge": "CategoricalCrossentropy(from_logits=True)",
    "kl_divergence": "CategoricalCrossentropy(from_logits=True), whose gradient is the same",
    "poisson": "MeanSquaredError()",
    "cosine_similarity": "MeanSquaredError()",
}
"""Losses whose outputs may be several things, and what to compile instead."""

_AVERAGES = ("auto", "sum_over_batch_size", "mean")
_CHOICES = (
    "task='softmax' (classes), 'sigmoid' (labels that are each yes or no) or 'regression' (values)"
)
NO_LOSS = (
    "A Distiller must be compiled with a hard loss. Received: loss=None. Compile it with "
    "keras.losses.SparseCategoricalCrossentropy(from_logits=True), say; coefficient=1.0 trains "
    "on the teacher alone."
)
NO_LABELS = (
    "A hard loss needs labels. Received: batches without labels. Pass (x, y); with "
    "coefficient=1.0 it does not matter which labels, as long as they are in range."
)


@dataclasses.dataclass(frozen=True)
class HardLoss:
    """A compiled loss, as far as it can be read.

    Attributes:
        name: Of its class or function.
        function: The name of Keras' own function behind its classes, names and partial functions; of any
            other "".
        settings: Its settings, where they are known: `from_logits`, `axis`, `ignore_class`.
    """

    name: str
    function: str
    settings: Mapping[str, Any]

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
            "The compiled loss or `task` must tell what the student's outputs are. Received: "
            f"loss={self.name}, task='auto'. "
            + (f"Compile keras.losses.{instead}; or pass " if instead else "Pass ")
            + f"{_CHOICES} to the Distiller."
        )


def only_loss(losses: list[Any]) -> Any:
    """Returns the one of the losses of a student, or None if there is none.

    Raises:
        ValueError: If there are several.
    """
    given = [loss for loss in losses if loss is not None]
    if len(given) > 1:
        raise ValueError(
            f"A student with one output has one hard loss. Received: {len(given)} losses. Compile with one "
            "loss."
        )
    return given[0] if given else None


def read_hard_loss(loss: Any, packages: Collection[str]) -> HardLoss:
    """Reads what `keras.losses.get` returned.

    Args:
        loss: A function, or an object with a `reduction`.
        packages: Those whose own functions it may be known by.

    Raises:
        ValueError: If it expects probabilities, its classes are not in the last axis, or it does not average
            over the batch.
    """
    function = _unwrapped(getattr(loss, "fn", loss))
    own = getattr(function, "__module__", "").partition(".")[0] in packages
    hard = HardLoss(
        name=getattr(_unwrapped(loss), "__name__", type(loss).__name__),
        # TensorFlow calls its present functions so.
        function=getattr(function, "__name__", "").removesuffix("_v2") if own else "",
        settings=_settings(loss),
    )
    _require_logits(hard)
    _require_mean(hard, getattr(loss, "reduction", "mean"))
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
    if hard.function != "kl_divergence" and hard.settings.get("from_logits", True):
        return
    words = hard.function.split("_") if hard.labels else ["SparseCategoricalCrossentropy"]
    same = "".join(word[0].upper() + word[1:] for word in words) + "(from_logits=True)"
    raise ValueError(
        "The hard loss must take logits: the student returns them. "
        f"Received: loss={hard.name}, which takes probabilities. "
        f"Pass e.g. keras.losses.{_INSTEAD.get(hard.function, same)}."
    )


def _require_mean(hard: HardLoss, reduction: object) -> None:
    """Raises unless the loss is a mean over the batch and reads the classes where the soft loss does."""
    if reduction not in _AVERAGES:
        raise ValueError(
            "The hard loss must average over the batch, as the soft loss does. "
            f"Received: reduction={reduction!r}. Leave `reduction` at its default."
        )
    axis = hard.settings.get("axis", -1)
    if hard.labels and axis != -1:
        raise ValueError(
            "The hard loss must find the classes in the last axis, as the soft loss does. "
            f"Received: axis={axis}. Leave `axis` at -1; transpose the student's outputs."
        )
