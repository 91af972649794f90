"""Relational knowledge distillation: distances and angles between examples (arXiv 1904.05068)."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

from tfqkd.core.ops import Tensor
from tfqkd.core.relations import angle_loss, distance_loss
from tfqkd.core.weights import Weight
from tfqkd.fronts.terms import Network, Seen, Term
from tfqkd.methods.method import Method
from tfqkd.methods.taps import embedding, falling, one_teacher, require_pair, shape_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rkd(Method):
    """Adds `weight·(RKD-D + angle·RKD-A)`: how the student's examples are arranged, as the teacher's are.

    Distances of pairs and cosines of angles of triples are those of embeddings, a vector for each example,
    of any two numbers of dimensions; see `core.relations`. They are of the examples that are computed
    together: several replicas compare their own alone, and do not train what one trains.

    Attributes:
        weight: 0 or more, or balanced:R. The authors' is 25, for float students that train long.
        angle: What the angles weigh beside the distances, 0 or more; 2 as published.
        falls: Whether the weight falls to 0 on a straight line over the epochs.
        student_tap: Name of the student's layer; by default the last before the logits that puts out a
            vector.
        teacher_tap: Name of the teacher's layer.
    """

    name: ClassVar[str] = "rkd"
    needs: ClassVar[frozenset[str]] = frozenset({"terms", "layers"})
    asks_teacher: ClassVar[bool] = True

    weight: Weight = 25.0
    angle: float = 2.0
    falls: bool = False
    student_tap: str = ""
    teacher_tap: str = ""

    def __post_init__(self) -> None:
        require_pair(self.name, self.student_tap, self.teacher_tap)
        if not 0 <= self.angle < float("inf"):
            raise ValueError(
                f"`rkd.angle` must be 0 or more, and finite. Received: rkd.angle={self.angle}."
            )

    def terms(self, student: Network, teachers: Sequence[Network]) -> Sequence[Term]:
        """Returns the one term.

        Raises:
            ValueError: If there is not one teacher that shows its layers, or a tap is no vector.
        """
        networks = student, one_teacher(self.name, teachers)
        named = self.student_tap, self.teacher_tap
        taps = [
            name or embedding(self.name, each) for name, each in zip(named, networks, strict=True)
        ]
        for tap, network in zip(taps, networks, strict=True):
            if len(shape_of(network, tap)) != 1:
                raise ValueError(
                    "RKD compares vectors, one for each example. "
                    f"Received: {tap} of {network.name}, of shape {shape_of(network, tap)}. "
                    "Name a layer behind the pooling."
                )
        return (
            Term("rkd_loss", self._loss, self.weight, falling(self.falls), (taps[0],), (taps[1],)),
        )

    def _loss(self, seen: Seen) -> Tensor:
        student, teacher, ops = seen.student_taps[0], seen.teacher_taps[0], seen.ops
        loss = distance_loss(student, teacher, ops)
        return loss + self.angle * angle_loss(student, teacher, ops) if self.angle else loss
