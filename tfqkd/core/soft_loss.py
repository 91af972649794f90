"""A soft loss as settings: its kind, and what the kinds need."""

import dataclasses

from tfqkd.core import losses
from tfqkd.core.agreement import class_numbers
from tfqkd.core.ops import Ops, Tensor
from tfqkd.core.tasks import Task


@dataclasses.dataclass(frozen=True)
class SoftLoss:
    """What teacher and student are compared by; of any `Task` that has the kind.

    Attributes:
        kind: "cross_entropy", "kl", and for classes "standardized", "dkd", "dist" or "cosine".
        dkd_beta: β of "dkd", 0 or more and finite.
        scale_by_temperature_squared: Whether the loss is multiplied by `T²`.
    """

    kind: str = "cross_entropy"
    dkd_beta: float = 8.0
    scale_by_temperature_squared: bool = True

    def __post_init__(self) -> None:
        if self.kind not in losses.CLASS_LOSSES:
            raise ValueError(
                f"`soft_loss` must be one of {', '.join(losses.CLASS_LOSSES)}, none. "
                f"Received: soft_loss={self.kind!r}."
            )
        if not 0 <= self.dkd_beta < float("inf"):
            raise ValueError(
                f"`dkd_beta` must be 0 or more, and finite. Received: dkd_beta={self.dkd_beta}."
            )

    def require_outputs(self, task: Task, outputs: int | None) -> None:
        """Raises if there is no such loss of a student's outputs.

        Args:
            task: What they are.
            outputs: How many each example has, if it is known.

        Raises:
            ValueError: If the kind is of classes alone and they are none, or "dkd" has two.
        """
        if task.name != "softmax" and self.kind not in losses.SOFT_LOSSES:
            raise ValueError(
                f"The soft loss '{self.kind}' compares the classes of one softmax. "
                f"Received: soft_loss={self.kind!r} with task={task.name!r}. Take soft_loss='kl'."
            )
        if self.kind == losses.DECOUPLED and outputs == 2:
            raise ValueError(
                "Decoupled distillation needs three classes or more: of two, none are left beside the "
                "label. Received: soft_loss='dkd' for 2 classes. Take soft_loss='kl'."
            )

    def of(
        self,
        task: Task,
        teacher: Tensor,
        student: Tensor,
        labels: Tensor,
        temperature: float | Tensor,
        ops: Ops,
    ) -> Tensor:
        """Returns the loss for each example.

        Args:
            task: What the outputs are.
            teacher: The teacher's, float `[..., outputs]`.
            student: The student's, of the same shape.
            labels: Classes as numbers, in a column or not, or one-hot; only "dkd" reads them.
            temperature: `T > 0`.
            ops: The table of their framework.

        Returns:
            Float32, `[...]`.
        """
        scaled = self.scale_by_temperature_squared
        if self.kind == losses.DECOUPLED:
            classes = class_numbers(labels, student, ops)
            return losses.decoupled_soft_loss(
                teacher, student, classes, temperature, self.dkd_beta, scaled, ops
            )
        if self.kind == losses.CORRELATION:
            return losses.correlation_soft_loss(
                teacher, student, temperature, scale_by_temperature_squared=scaled, ops=ops
            )
        if self.kind == losses.COSINE:
            return losses.cosine_soft_loss(teacher, student, temperature, scaled, ops)
        if self.kind == losses.STANDARDIZED:
            both = losses.standardized(teacher, ops), losses.standardized(student, ops)
            return task.soft_loss(*both, temperature, "kl", scaled, ops)
        return task.soft_loss(teacher, student, temperature, self.kind, scaled, ops)
