"""Whether student and teacher choose alike, and whether a teacher's outputs are probabilities."""

from tfqkd.core.ops import Ops, Tensor, ops_of


def are_probabilities(outputs: Tensor, ops: Ops | None = None) -> Tensor:
    """Returns whether every row is a distribution: no value below zero, a sum of 1 to within a hundredth.

    Args:
        outputs: Float, `[..., classes]`. None at all are no distributions.
        ops: The table of their framework; None finds it.
    """
    ops = ops or ops_of(outputs)
    outputs = ops.cast(outputs, "float32")
    # bfloat16 rounds each of them by up to 0.4 %.
    sums = ops.abs(ops.sum(outputs, axis=-1) - 1) < 0.01
    rows = ops.logical_and(ops.all(outputs >= 0, axis=-1), sums)
    return ops.logical_and(ops.all(rows), ops.size(outputs) > 0)


def agreement(teacher_logits: Tensor, student_logits: Tensor, ops: Ops | None = None) -> Tensor:
    """Returns whether student and teacher choose the same class: float32 0 or 1, `[...]`."""
    ops = ops or ops_of(student_logits)
    best = (ops.argmax(logits, axis=-1) for logits in (teacher_logits, student_logits))
    return ops.cast(ops.equal(*best), "float32")


def sigmoid_agreement(
    teacher_logits: Tensor, student_logits: Tensor, ops: Ops | None = None
) -> Tensor:
    """Returns whether student and teacher say the same of a label, yes above 0: float32 0 or 1 for each."""
    ops = ops or ops_of(student_logits)
    return ops.cast(ops.equal(teacher_logits > 0, student_logits > 0), "float32")


def class_numbers(labels: Tensor, logits: Tensor, ops: Ops | None = None) -> Tensor:
    """Returns the class of each example, whether labels are numbers, in a column or not, or one-hot.

    Args:
        labels: `[...]`, `[..., 1]` or `[..., classes]`.
        logits: `[..., classes]`.
        ops: The table of their framework; None finds it.
    """
    ops = ops or ops_of(logits)
    if ops.ndim(labels) == ops.ndim(logits) and labels.shape[-1] != 1:
        return ops.cast(ops.argmax(labels, axis=-1), "int32")
    return ops.cast(ops.reshape(labels, ops.shape(logits)[:-1]), "int32")
