"""FitNets: a middle layer of the student learns what one of the teacher puts out (arXiv 1412.6550)."""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

from tfqkd.core.ops import Tensor
from tfqkd.core.weights import Weight
from tfqkd.fronts.terms import Network, Seen, Term
from tfqkd.methods.method import Method
from tfqkd.methods.taps import ends_of_stages, falling, one_teacher, require_pair, shape_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hints(Method):
    """Adds `weight·mean((r(F_S) - F_T)²)` over all elements of one pair of maps, `[batch, H, W, C]`.

    `r` is a 1x1 convolution to the teacher's channels, batch norm and ReLU; it trains along, is in every
    checkpoint, and in no file. The paper trains the hint first and by itself; here it is a term beside the
    others, as in the benchmarks of the field.

    Attributes:
        weight: 0 or more, or balanced:R. The field's 100 is for float students that train long; small
            ternary ones lost by it.
        falls: Whether the weight falls to 0 on a straight line over the epochs.
        student_tap: Name of the student's layer; by default the last of the middle one of the heights and
            widths that both have.
        teacher_tap: Name of the teacher's layer, of the same height and width.
    """

    name: ClassVar[str] = "hints"
    needs: ClassVar[frozenset[str]] = frozenset({"terms", "peers", "layers"})
    asks_teacher: ClassVar[bool] = True

    weight: Weight = 100.0
    falls: bool = True
    student_tap: str = ""
    teacher_tap: str = ""

    def __post_init__(self) -> None:
        require_pair(self.name, self.student_tap, self.teacher_tap)

    def terms(self, student: Network, teachers: Sequence[Network]) -> Sequence[Term]:
        """Returns the one term, with its adapter.

        Raises:
            ValueError: If there is not one teacher that shows its layers, or the maps differ in size.
        """
        teacher = one_teacher(self.name, teachers)
        pair = self.student_tap, self.teacher_tap
        if not self.student_tap:
            ends = ends_of_stages(self.name, student, teacher)
            pair = ends[0][len(ends[0]) // 2], ends[1][len(ends[0]) // 2]
        shapes = [
            shape_of(network, name) for network, name in zip((student, teacher), pair, strict=True)
        ]
        if len(shapes[0]) != 3 or shapes[0][:2] != shapes[1][:2]:
            raise ValueError(
                "Hints need maps of one height and width. "
                f"Received: {pair[0]} of {shapes[0]} and {pair[1]} of {shapes[1]}. Name other layers."
            )
        adapter = _adapter(student.keras, shapes[0], shapes[1][-1])

        def loss(seen: Seen) -> Tensor:
            adapted = seen.ops.cast(adapter(seen.student_taps[0], training=True), "float32")
            difference = adapted - seen.ops.stop_gradient(seen.teacher_taps[0])
            return seen.ops.mean(difference**2, axis=(1, 2, 3))

        taps = ((pair[0],), (pair[1],))
        falls = falling(self.falls)
        return (Term("hint_loss", loss, self.weight, falls, *taps, trained=(adapter,)),)


def _adapter(keras: Any, shape: tuple[Any, ...], channels: Any) -> Any:
    layers = keras.layers
    image = keras.Input(shape)
    adapted = layers.Conv2D(channels, 1, use_bias=False)(image)
    adapted = layers.ReLU()(layers.BatchNormalization()(adapted))
    return keras.Model(image, adapted, name="hint_adapter")
