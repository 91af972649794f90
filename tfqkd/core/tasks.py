"""What a student's outputs are: classes of one softmax, labels of a sigmoid each, or values."""

import dataclasses
from collections.abc import Callable, Sequence

from tfqkd.core import losses
from tfqkd.core.agreement import agreement, are_probabilities, sigmoid_agreement
from tfqkd.core.ops import Ops, Tensor, ops_of

AUTO = "auto"


@dataclasses.dataclass(frozen=True)
class Task:
    """What a `Distiller` asks of outputs of one kind.

    Attributes:
        name: "softmax", "sigmoid" or "regression".
        soft_loss: As `losses.soft_loss`: from the outputs of teacher and student, temperature, kind, scaling
            and table to a loss for each example.
        agreement: From both outputs to 0 or 1 for each decision; None where nothing is decided.
        probabilities: From a teacher's outputs to how many were looked at, and how many of these look like
            probabilities; None where outputs may be any values.
        enough: How many must have been looked at before all of them tell something.
        look: How an error calls such probabilities.
        logits: What an error tells to return instead.
        softens: Whether the temperature has a part in the soft loss.
    """

    name: str
    soft_loss: Callable[..., Tensor]
    agreement: Callable[..., Tensor] | None = None
    probabilities: Callable[..., tuple[Tensor, Tensor]] | None = None
    enough: int = 1
    look: str = ""
    logits: str = ""
    softens: bool = True

    def require_outputs(self, shape: Sequence[int | None]) -> None:
        """Raises if a student's outputs are none that the task can have.

        Args:
            shape: Theirs, `[batch, ..., outputs]`, as far as it is known.

        Raises:
            ValueError: If they have no last axis, or are one class.
        """
        if len(shape) < 2:
            raise ValueError(
                "A student must return [batch, outputs]. "
                f"Received: outputs of shape {tuple(shape)}. Leave a last axis, of one for a single output."
            )
        if self.name == "softmax" and shape[-1] == 1:
            raise ValueError(
                "A softmax needs two classes or more: that of one output is 1, whatever the teacher says. "
                f"Received: outputs of shape {tuple(shape)}, task='softmax'. Compile "
                "keras.losses.BinaryCrossentropy(from_logits=True) for one yes or no, or add an output."
            )

    def require_logits(self, looked_at: int, probable: int) -> None:
        """Raises if all outputs of a teacher that were looked at are probabilities, and they are enough.

        Args:
            looked_at: How many were looked at.
            probable: How many of these look like probabilities.

        Raises:
            ValueError: If they are.
        """
        if looked_at >= self.enough and looked_at == probable:
            raise ValueError(
                f"A teacher must return logits: the temperature divides them before the {self.name}. "
                f"Received: probabilities, {self.look}. Return {self.logits}."
            )


def _distributions(outputs: Tensor, ops: Ops | None = None) -> tuple[Tensor, Tensor]:
    ops = ops or ops_of(outputs)
    return ops.size(outputs) > 0, are_probabilities(outputs, ops)


def _between_zero_and_one(outputs: Tensor, ops: Ops | None = None) -> tuple[Tensor, Tensor]:
    ops = ops or ops_of(outputs)
    # Zero is a logit of no opinion as well as a probability that was rounded.
    telling = outputs != 0
    inside = ops.logical_and(outputs > 0, outputs <= 1)
    return ops.sum(ops.cast(telling, "int32")), ops.sum(ops.cast(inside, "int32"))


def _squared_error(
    teacher: Tensor,
    student: Tensor,
    temperature: object = None,
    kind: object = None,
    scaled: object = None,
    ops: Ops | None = None,
) -> Tensor:
    return losses.squared_error(teacher, student, ops)


TASKS = {
    "softmax": Task(
        "softmax",
        losses.soft_loss,
        agreement,
        _distributions,
        look="rows without negative values whose sum is 1",
        logits="what comes before the softmax, or the logarithm of the probabilities: "
        "lambda batch: tf.math.log(teacher(batch))",
    ),
    "sigmoid": Task(
        "sigmoid",
        losses.sigmoid_soft_loss,
        sigmoid_agreement,
        _between_zero_and_one,
        enough=16,  # Logits of a batch all are there by chance when it is small.
        look="values from 0 to 1 alone",
        logits="what comes before the sigmoid, or log(p) - log(1 - p) of the probabilities p",
    ),
    "regression": Task("regression", _squared_error, softens=False),
}


def require_task(name: object) -> None:
    """Raises if a task has no such name.

    Raises:
        ValueError: If it is neither "auto" nor in `TASKS`.
    """
    if name not in (AUTO, *TASKS):
        raise ValueError(
            f"`task` must be one of {', '.join((AUTO, *TASKS))}. Received: task={name!r}. "
            "It says what the student's outputs are; 'auto' reads it off the compiled loss."
        )
