"""The hard loss of tf_keras: read off what `compile` was given."""

from collections.abc import Sequence
from typing import Any

from tfqkd.compat import keras, tf
from tfqkd.fronts.hard_loss import NO_LABELS, NO_LOSS, HardLoss, only_loss, read_hard_loss
from tfqkd.fronts.tfmot.output_form import by_output
from tfqkd.fronts.tfmot.step_error import step_error


def read_losses(compiled: Any, outputs: Sequence[str]) -> list[HardLoss | None]:
    """Reads what `compile` was given as `loss` for a student of one output or of several.

    Args:
        compiled: The losses: one for all outputs, a list in their order, or a dict by name.
        outputs: The names of its outputs.

    Returns:
        The loss of each output, or None where there is none.

    Raises:
        ValueError: If there are losses of other outputs, and as `read_loss` does.
    """
    if len(outputs) == 1:
        return [read_loss(compiled)]
    return [read_loss(each) for each in by_output(compiled, outputs)]


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


def require_hard_loss(hard: Sequence[HardLoss | None], labels: Any) -> None:
    """Raises if a step has no hard loss, or no labels for it.

    Raises:
        ValueError: If so; as the step is traced.
    """
    if not any(hard):
        raise step_error(NO_LOSS)
    if labels is None:
        raise step_error(NO_LABELS)
