"""Attention transfer: the student learns where in an image the teacher is active (arXiv 1612.03928)."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, Literal

from tfqkd.core.ops import Ops, Tensor
from tfqkd.core.weights import Weight
from tfqkd.fronts.terms import Network, Seen, Term
from tfqkd.methods.method import Method
from tfqkd.methods.taps import ends_of_stages, falling, one_teacher, require_pair


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attention(Method):
    """Adds `weight·Σ_l d(a(F_S^l), a(F_T^l))` over pairs of feature maps `F`, `[batch, H, W, C]`.

    `a(F)` is the mean of `F²` over the channels, flattened and scaled to length 1, so that any numbers of
    channels go together. `d` is the mean of squares (the authors' code) or the distance `‖·‖₂` (equation 2).

    Attributes:
        weight: Weight of the term, 0 or more, or balanced:R. The authors' 1000 is for float students that
            train long; small ternary ones lost by it, the more the longer it stayed on.
        falls: Whether the weight falls to 0 on a straight line over the epochs.
        form: Distance of two maps: squares (the mean of their squared difference) or distance (its length).
        student_taps: Names of the student's layers; by default the last of each height and width, where the
            teacher has maps of that size.
        teacher_taps: Names of the teacher's layers, as many, of the same heights and widths.
    """

    name: ClassVar[str] = "attention"
    needs: ClassVar[frozenset[str]] = frozenset({"terms", "layers"})
    asks_teacher: ClassVar[bool] = True

    weight: Weight = 1000.0
    falls: bool = True
    form: Literal["squares", "distance"] = "squares"
    student_taps: tuple[str, ...] = ()
    teacher_taps: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.form not in ("squares", "distance"):
            raise ValueError(
                "`attention.form` must be squares or distance. "
                f"Received: attention.form={self.form!r}."
            )
        require_pair(self.name, self.student_taps, self.teacher_taps)

    def terms(self, student: Network, teachers: Sequence[Network]) -> Sequence[Term]:
        """Returns the one term.

        Raises:
            ValueError: If there is not one teacher that shows its layers, or no maps of one size.
        """
        teacher = one_teacher(self.name, teachers)
        taps = self.student_taps, self.teacher_taps
        if not self.student_taps:
            taps = ends_of_stages(self.name, student, teacher)
        return (Term("attention_loss", self._loss, self.weight, falling(self.falls), *taps),)

    def _loss(self, seen: Seen) -> Tensor:
        pairs = zip(seen.student_taps, seen.teacher_taps, strict=True)
        return sum(attention_loss(*pair, form=self.form, ops=seen.ops) for pair in pairs)


def attention_map(features: Tensor, ops: Ops) -> Tensor:
    """Returns `a(F)`, float32 `[batch, H·W]`.

    Args:
        features: `F`, `[batch, H, W, C]`.
        ops: The table of its framework.
    """
    batch, height, width, _ = ops.shape(features)
    activity = ops.mean(ops.cast(features, "float32") ** 2, axis=-1)
    activity = ops.reshape(activity, (batch, height * width))
    length = ops.sqrt(ops.maximum(ops.sum(activity**2, axis=-1, keepdims=True), 1e-24))
    return activity / length


def attention_loss(student: Tensor, teacher: Tensor, form: str, ops: Ops) -> Tensor:
    """Returns the distance of two attention maps for each example, float32 `[batch]`.

    Args:
        student: `F_S`, `[batch, H, W, C]`.
        teacher: `F_T`, of the same height and width.
        form: "squares", `mean((a_S - a_T)²)`, or "distance", `‖a_S - a_T‖₂`.
        ops: The table of their framework.
    """
    difference = attention_map(student, ops) - ops.stop_gradient(attention_map(teacher, ops))
    if form == "squares":
        return ops.mean(difference**2, axis=-1)
    # The root has no gradient at zero.
    return ops.sqrt(ops.maximum(ops.sum(difference**2, axis=-1), 1e-24))
