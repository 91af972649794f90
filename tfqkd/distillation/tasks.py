"""What a student's outputs are: classes of one softmax, labels of a sigmoid each, or values."""

import dataclasses
from collections.abc import Callable

from tfqkd.compat import tf
from tfqkd.distillation import losses
from tfqkd.distillation.step_error import step_error

AUTO = "auto"


@dataclasses.dataclass(frozen=True)
class Task:
    """What a `Distiller` asks of outputs of one kind.

    Attributes:
        name: "softmax", "sigmoid" or "regression".
        soft_loss: As `losses.soft_loss`: from the outputs of teacher and student, temperature, kind and
            scaling to a loss for each example.
        agreement: From both outputs to 0 or 1 for each decision; None where nothing is decided.
        probabilities: From a teacher's answers to how many were looked at, and how many of these look like
            probabilities; None where answers may be any values.
        enough: How many must have been looked at before all of them tell something.
        look: How an error calls such probabilities.
        logits: What an error tells to return instead.
        softens: Whether the temperature has a part in the soft loss.
    """

    name: str
    soft_loss: Callable[..., tf.Tensor]
    agreement: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None
    probabilities: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]] | None = None
    enough: int = 1
    look: str = ""
    logits: str = ""
    softens: bool = True

    def require_outputs(self, shape: tf.TensorShape) -> None:
        """Raises if a student's outputs are none that the task can have.

        Args:
            shape: Theirs, `[batch, ..., outputs]`, as far as it is known.

        Raises:
            ValueError: If they have no last axis, or are one class.
        """
        if shape.rank is None:
            return
        if shape.rank < 2:
            raise step_error(
                "A student must return [batch, outputs]. "
                f"Received: outputs of shape {shape}. Leave a last axis, of one for a single output."
            )
        if self.name == "softmax" and shape[-1] == 1:
            raise step_error(
                "A softmax needs two classes or more: that of one output is 1, whatever the teacher says. "
                f"Received: outputs of shape {shape}, task='softmax'. Compile "
                "keras.losses.BinaryCrossentropy(from_logits=True) for one yes or no, or add an output."
            )

    def require_soft_loss(self, kind: str) -> None:
        """Raises if a soft loss is of classes alone, and the outputs are none.

        Raises:
            ValueError: If it is so.
        """
        if self.name != "softmax" and kind not in losses.SOFT_LOSSES:
            raise ValueError(
                f"The soft loss '{kind}' compares the classes of one softmax. "
                f"Received: soft_loss={kind!r} with task={self.name!r}. Take soft_loss='kl'."
            )


def _distributions(answers: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.size(answers) > 0, losses.are_probabilities(answers)


def _between_zero_and_one(answers: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    # Zero is a logit of no opinion as well as a probability that was rounded.
    telling = answers != 0
    inside = (answers > 0) & (answers <= 1)
    return tf.math.count_nonzero(telling), tf.math.count_nonzero(inside)


def _squared_error(teacher: tf.Tensor, student: tf.Tensor, *_: object) -> tf.Tensor:
    return losses.squared_error(teacher, student)


TASKS = {
    "softmax": Task(
        "softmax",
        losses.soft_loss,
        losses.agreement,
        _distributions,
        look="rows without negative values whose sum is 1",
        logits="what comes before the softmax, or the logarithm of the probabilities: "
        "lambda batch: tf.math.log(teacher(batch))",
    ),
    "sigmoid": Task(
        "sigmoid",
        losses.sigmoid_soft_loss,
        losses.sigmoid_agreement,
        _between_zero_and_one,
        enough=16,  # Logits of a batch all lie there by chance when it is small.
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
