"""Self-distillation: the student of the epoch before is a teacher, after PS-KD (arXiv 2006.12000)."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

from tfqkd.core.losses import soft_loss
from tfqkd.core.ops import Tensor
from tfqkd.core.schedules import Linear
from tfqkd.fronts.terms import Network, Seen, Term
from tfqkd.fronts.view import View
from tfqkd.methods.method import Method


@dataclasses.dataclass(frozen=True, kw_only=True)
class PastSelf(Method):
    """Trains on targets `(1 - α_e)·labels + α_e·p_past`: adds `α_e·(H(p_past, p) - hard)`.

    `p_past` are the probabilities of a snapshot of the student, quantized as it is, with its moving averages
    of batch norm; `α_e` rises on a straight line from 0 in the first epoch to `weight` in the last. PS-KD
    keeps what each image got in the epoch before, as augmented then; here the snapshot answers to the image
    as it is shown now, so that no list of images is needed. Beside a teacher's term the labels weigh
    `1 - λ - α_e`.

    Attributes:
        weight: α of the last epoch, in [0, 1]; 0.8 as published.
        every: Epochs from one snapshot to the next, 1 or more; 1 as published.
    """

    name: ClassVar[str] = "past_self"
    needs: ClassVar[frozenset[str]] = frozenset({"terms", "peers", "variables"})

    weight: float = 0.8
    every: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1:
            raise ValueError(
                f"`past_self.weight` must be in [0, 1]. Received: past_self.weight={self.weight}."
            )
        if self.every < 1:
            raise ValueError(
                f"`past_self.every` must be 1 or more. Received: past_self.every={self.every}."
            )

    def terms(self, student: Network, teachers: Sequence[Network]) -> Sequence[Term]:
        """Returns the one term, whose peer is the snapshot: it does not train."""
        assert student.twin is not None
        snapshot = student.twin()
        snapshot.trainable = False
        return (Term("past_loss", _past, self.weight, schedule=Linear(0.0, 1.0), peer=snapshot),)

    def prepare(self, view: View) -> None:
        """Lets the snapshot begin where the student does."""
        view.snapshot()

    def epoch_end(self, view: View, epoch: int) -> None:
        """Takes a snapshot."""
        if (epoch + 1) % self.every == 0:
            view.snapshot()


def _past(seen: Seen) -> Tensor:
    target = soft_loss(seen.peer, seen.student, 1.0, kind="cross_entropy", ops=seen.ops)
    return seen.ops.mean(target) - seen.hard(seen.student)
