"""FSP: the flow between two layers of the student follows that of the teacher (Yim et al., CVPR 2017)."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import ClassVar

from tfqkd.core.ops import Tensor
from tfqkd.core.relations import flow_loss
from tfqkd.core.weights import Weight
from tfqkd.fronts.terms import Network, Seen, Term
from tfqkd.methods.method import Method
from tfqkd.methods.taps import ends_of_stages, falling, one_teacher, require_pair, shape_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fsp(Method):
    """Adds `weight·Σ mean (G_S - G_T)²`, `G = F₁ᵀF₂/(H·W)` of each two neighbours of a list of maps.

    Both networks must have the same channels there: a float teacher of the student's own widths, deeper or
    not. The paper trains by it first and alone; here it is a term beside the others, that falls.

    Attributes:
        weight: 0 or more, or balanced:R. The field's 50 is for a first phase of float students.
        falls: Whether the weight falls to 0 on a straight line over the epochs.
        student_taps: Names of two or more of the student's layers, lower ones first; by default the last of
            each height and width, where the teacher has maps of that size.
        teacher_taps: Names of the teacher's layers, as many, of the same channels.
    """

    name: ClassVar[str] = "fsp"
    needs: ClassVar[frozenset[str]] = frozenset({"terms", "layers"})
    asks_teacher: ClassVar[bool] = True

    weight: Weight = 50.0
    falls: bool = True
    student_taps: tuple[str, ...] = ()
    teacher_taps: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_pair(self.name, self.student_taps, self.teacher_taps)

    def terms(self, student: Network, teachers: Sequence[Network]) -> Sequence[Term]:
        """Returns the one term.

        Raises:
            ValueError: If there is not one teacher that shows its layers, or the layers' maps do not fit.
        """
        teacher = one_teacher(self.name, teachers)
        taps = self.student_taps, self.teacher_taps
        if not self.student_taps:
            taps = ends_of_stages(self.name, student, teacher)
        shapes = [
            [shape_of(network, name) for name in names]
            for network, names in zip((student, teacher), taps, strict=True)
        ]
        _require_flows(shapes, taps)
        return (Term("fsp_loss", self._loss, self.weight, falling(self.falls), *taps),)

    def _loss(self, seen: Seen) -> Tensor:
        flows = zip(
            itertools.pairwise(seen.student_taps),
            itertools.pairwise(seen.teacher_taps),
            strict=True,
        )
        return sum(flow_loss(*pair, ops=seen.ops) for pair in flows)


def _require_flows(
    shapes: Sequence[Sequence[tuple[int | None, ...]]], taps: Sequence[Sequence[str]]
) -> None:
    received = (
        f"Received: {', '.join(taps[0])} of {shapes[0]} and {', '.join(taps[1])} of {shapes[1]}."
    )
    maps = [shape for side in shapes for shape in side]
    if len(shapes[0]) < 2 or any(len(shape) != 3 or None in shape for shape in maps):
        raise ValueError(f"FSP needs two feature maps or more. {received} Name others.")
    for side in shapes:
        for lower, upper in itertools.pairwise(side):
            if any(
                int(low or 0) % int(up or 1) for low, up in zip(lower[:2], upper[:2], strict=True)
            ):
                raise ValueError(
                    f"FSP pools a lower map by a whole factor to the size of the next. {received}"
                )
    if [shape[-1] for shape in shapes[0]] != [shape[-1] for shape in shapes[1]]:
        raise ValueError(
            f"FSP needs a teacher of the student's channels. {received} Take one of the student's widths, "
            "or the method attention."
        )
