"""The hard loss of tf_keras: read off what `compile` was given."""

from typing import Any

from tfqkd.compat import keras, tf
from tfqkd.fronts.hard_loss import NO_LABELS, NO_LOSS, HardLoss, only_loss, read_hard_loss
from tfqkd.fronts.tfmot.step_error import step_error


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
    loss = only_loss(tf.nest.flatten(compiled))
    if loss is None:
        return None
    return read_hard_loss(keras.losses.get(loss), {"tf_keras", "tensorflow"})


def require_hard_loss(hard: HardLoss | None, labels: Any) -> HardLoss:
    """Returns the hard loss of a step; raises if there is none, or no labels for it.

    Raises:
        ValueError: If so; as the step is traced.
    """
    if hard is None:
        raise step_error(NO_LOSS)
    if labels is None:
        raise step_error(NO_LABELS)
    return hard
