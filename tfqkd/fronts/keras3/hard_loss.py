"""The hard loss of Keras 3: read off what `compile` was given, and called."""

from typing import Any

import keras

from tfqkd.fronts import hard_loss


class CalledLoss:
    """A compiled loss; called, it is the mean over the batch.

    Attributes:
        read: The loss as far as it can be read.

    Args:
        compiled: What `compile` was given as `loss`: a name, a function or a `keras.losses.Loss`, alone or in
            a list or dict.

    Raises:
        ValueError: If there is none, or several, it expects probabilities, has its classes not in the last
            axis, or does not average over the batch.
    """

    def __init__(self, compiled: Any) -> None:
        given = hard_loss.only_loss(keras.tree.flatten(compiled))
        if given is None:
            raise ValueError(hard_loss.NO_LOSS)
        loss = keras.losses.get(given)
        self.read = hard_loss.read_hard_loss(loss, {"keras"})
        self._loss = loss if isinstance(loss, keras.losses.Loss) else _FunctionLoss(loss)

    def __call__(self, labels: Any, outputs: Any, sample_weight: Any) -> Any:
        """Returns the mean over the batch, divided by the number of replicas, as Keras does."""
        return self._loss(labels, outputs, sample_weight)


class _FunctionLoss(keras.losses.Loss):
    """A plain function of labels and outputs as a loss of Keras."""

    def __init__(self, function: Any) -> None:
        super().__init__(name=getattr(function, "__name__", "loss"))
        self._function = function

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self._function(y_true, y_pred)
