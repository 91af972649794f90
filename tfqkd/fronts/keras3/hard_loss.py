"""The hard loss: what the loss that a `Distiller` is compiled with says of the student's outputs."""

import functools
import inspect
from typing import Any

import keras

_TASKS = {
    "sparse_categorical_crossentropy": "softmax",
    "categorical_crossentropy": "softmax",
    "categorical_focal_crossentropy": "softmax",
    "binary_crossentropy": "sigmoid",
    "binary_focal_crossentropy": "sigmoid",
    "mean_squared_error": "regression",
    "mean_absolute_error": "regression",
    "mean_absolute_percentage_error": "regression",
    "mean_squared_logarithmic_error": "regression",
    "huber": "regression",
    "log_cosh": "regression",
}
"""What the outputs are, by the function that computes the loss."""

_AVERAGES = ("sum_over_batch_size", "mean")
_CHOICES = (
    "task='softmax' (classes), 'sigmoid' (labels that are each yes or no) or 'regression' (values)"
)


class HardLoss:
    """A compiled loss, as far as it can be read; called, it is the mean over the batch.

    Args:
        compiled: What `compile` was given as `loss`: a name, a function or a `keras.losses.Loss`.

    Raises:
        ValueError: If it is several, expects probabilities, has its classes not in the last axis, or does
            not average over the batch.
    """

    def __init__(self, compiled: Any) -> None:
        if isinstance(compiled, (list, tuple, dict)):
            raise ValueError(
                "A student has one output, and one hard loss. "
                f"Received: {compiled!r}. Compile the one of its output."
            )
        loss = keras.losses.get(compiled)
        self._loss = loss if isinstance(loss, keras.losses.Loss) else _FunctionLoss(loss)
        function = _unwrapped(getattr(loss, "fn", loss))
        self._function = getattr(function, "__name__", "")
        self.name = getattr(loss, "__name__", None) or type(loss).__name__
        settings = _settings(loss)
        self._require_logits(settings)
        self._require_mean(settings)

    def __call__(self, labels: Any, outputs: Any, sample_weight: Any) -> Any:
        """Returns the mean over the batch, divided by the number of replicas, as Keras does."""
        return self._loss(labels, outputs, sample_weight)

    def task(self, given: str) -> str:
        """Returns the task that was given, or for "auto" the one that the loss tells.

        Raises:
            ValueError: If it is "auto" and the loss does not tell.
        """
        if given != "auto":
            return given
        if self._function in _TASKS:
            return _TASKS[self._function]
        raise ValueError(
            "The compiled loss must tell what the student's outputs are, or `task` must. Received: "
            f"loss={self.name}, task='auto'. Pass {_CHOICES} to the Distiller."
        )

    def _require_logits(self, settings: dict[str, Any]) -> None:
        takes_probabilities = not settings.get("from_logits", True)
        if takes_probabilities or self._function == "kl_divergence":
            raise ValueError(
                "The hard loss must take logits: the student returns them. "
                f"Received: loss={self.name}, which takes probabilities. Pass e.g. "
                "keras.losses.SparseCategoricalCrossentropy(from_logits=True)."
            )

    def _require_mean(self, settings: dict[str, Any]) -> None:
        if self._loss.reduction not in _AVERAGES:
            raise ValueError(
                "The hard loss must average over the batch, as the soft loss does. "
                f"Received: reduction={self._loss.reduction!r}. Leave `reduction` at its default."
            )
        axis = settings.get("axis", -1)
        if self._function in _TASKS and axis != -1:
            raise ValueError(
                "The hard loss must find the classes in the last axis, as the soft loss does. "
                f"Received: axis={axis}. Leave `axis` at -1; transpose the student's outputs."
            )


class _FunctionLoss(keras.losses.Loss):
    """A plain function of labels and outputs as a loss of Keras."""

    def __init__(self, function: Any) -> None:
        super().__init__(name=getattr(function, "__name__", "loss"))
        self._function = function

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self._function(y_true, y_pred)


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
    given = loss.get_config() if isinstance(loss, keras.losses.Loss) else {}
    return {**defaults, **given}
