"""Labels: whether a student has an output for each of them; of either Keras."""

from collections.abc import Sequence

from tfqkd.fronts.hard_loss import HardLoss
from tfqkd.fronts.shapes import compatible

_KINDS = {
    "classes": "numbers of classes",
    "one-hot": "one-hot, as wide as the student's outputs",
    "binary": "one for each of the student's outputs",
}


def wrong_shape(
    labels: Sequence[int | None] | None, outputs: Sequence[int | None] | None, hard: HardLoss
) -> str | None:
    """Returns what is wrong with the labels' shape, as an error says it; None if it fits the outputs.

    Args:
        labels: Their shape, if it is known.
        outputs: That of the student's outputs, `[batch, ..., outputs]`, if it is known.
        hard: The loss that takes both.
    """
    if labels is None or outputs is None or hard.labels is None:
        return None
    outputs, labels = tuple(outputs), tuple(labels)
    fitting = {
        "classes": [outputs[:-1], (*outputs[:-1], 1)],
        "one-hot": [outputs],
        # Keras adds or takes a last axis of one.
        "binary": [outputs, *([outputs[:-1]] if outputs[-1] == 1 else [])],
    }[hard.labels]
    if any(compatible(labels, shape) for shape in fitting):
        return None
    return (
        f"Labels for {hard.name} must be {_KINDS[hard.labels]}. "
        f"Received: labels of shape {labels} for outputs of shape {outputs}. "
        "Use SparseCategoricalCrossentropy for numbers of classes, CategoricalCrossentropy for one-hot "
        "labels, BinaryCrossentropy for labels that are each yes or no."
    )


def require_range(lowest: float, highest: float, outputs: int, hard: HardLoss) -> None:
    """Raises if labels are out of range.

    Args:
        lowest: The lowest label that was seen.
        highest: The highest.
        outputs: How many the student has.
        hard: The loss that takes them: of classes, or of labels that are each yes or no.

    Raises:
        ValueError: If one is.
    """
    if hard.labels == "classes":
        limit = outputs - 1
        rule = f"the student's {outputs} classes, numbered from 0 to {limit}"
        advice = "Number classes from 0, and give the student an output for each."
    else:
        limit = 1
        rule = f"from 0 (no) to 1 (yes) for {hard.name}"
        advice = "Give each yes or no a column and an output of its own."
    if lowest < 0 or highest > limit:
        # What a framework said of them is longer, and says no more.
        raise ValueError(
            f"Labels must be {rule}. Received: labels from {lowest:g} to {highest:g}. {advice}"
        ) from None
