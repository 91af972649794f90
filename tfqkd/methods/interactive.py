"""Student and teacher exchange messages, after the abstract and reviews of Talking Models (arXiv 2310.03188).

`E` encodes a state as a message and `D` decodes it, a 1x1 convolution for each model at a lower layer l and a
higher one h; `B` is the teacher from l to h. The student says `m = E_S(s_l)`, the teacher takes it in and
answers, `a = E_T(B(D_T(m)))`, and the student decodes the answer:

    interact_loss = mean (s_h - D_S(a))²
    message_loss  = Σ_{l,h} mean (E_S(s) - E_T(t))²                  the same image, the same message
    state_loss    = Σ_{l,h} mean (D(E(x)) - x)², of s and of t       a message can be decoded
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

from tfqkd.core.ops import Tensor
from tfqkd.core.schedules import Linear
from tfqkd.fronts.terms import Network, Seen, Term
from tfqkd.methods.method import Method
from tfqkd.methods.taps import ends_of_stages, one_teacher


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interactive(Method):
    """Adds the three losses, of one exchange; nothing of it is in a file.

    No text of the paper was read but its abstract and public reviews: formulas, weights, layers, and that the
    teacher is frozen and states are constants in the state loss are our choices. A reviewer suspects that the
    modules make the gain, not the talk: always train the control beside it, `way="one"`, in which the teacher
    answers from its own state, `a = E_T(t_h)`, with the same modules. In small runs every weight cost a
    ternary student accuracy.

    Attributes:
        weight: Weight of the interaction loss, 0 or more.
        message_weight: Weight of the message loss, 0 or more.
        state_weight: Weight of the state loss, above 0 where the interaction has weight: messages would
            become constant without it.
        falls: Whether the weights fall to 0 on a straight line over the epochs.
        width: Channels of a message, 1 or more.
        way: two, or one for the control.
        student_taps: Names of the student's lower and higher layer of maps; by default the ends of the last
            two heights and widths that both have.
        teacher_taps: Names of the teacher's lower and higher layer, of the same heights and widths.
    """

    name: ClassVar[str] = "interactive"
    needs: ClassVar[frozenset[str]] = frozenset({"terms", "peers", "layers", "between"})
    asks_teacher: ClassVar[bool] = True

    weight: float = 0.1
    message_weight: float = 0.01
    state_weight: float = 0.1
    falls: bool = True
    width: int = 32
    way: Literal["two", "one"] = "two"
    student_taps: tuple[str, ...] = ()
    teacher_taps: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.width < 1 or self.way not in ("two", "one"):
            raise ValueError(
                "`interactive.width` must be 1 or more, and `interactive.way` two or one. "
                f"Received: interactive.width={self.width}, interactive.way={self.way}."
            )
        if self.weight > 0 and not self.state_weight > 0:
            raise ValueError(
                "`interactive.state_weight` must be above 0 where the interaction has weight: messages would "
                f"become constant. Received: interactive.state_weight={self.state_weight}."
            )
        if (len(self.student_taps), len(self.teacher_taps)) not in ((0, 0), (2, 2)):
            raise ValueError(
                "`interactive.student_taps` and `interactive.teacher_taps` must name two layers each. "
                f"Received: {self.student_taps} and {self.teacher_taps}."
            )

    def terms(self, student: Network, teachers: Sequence[Network]) -> Sequence[Term]:
        """Returns the three terms, with the modules that they share.

        Raises:
            ValueError: If there is not one teacher that shows its layers, or no two sizes of maps agree.
        """
        teacher = one_teacher(self.name, teachers)
        taps = self._taps(student, teacher)
        coders = [
            [_Coder(student.keras, network, name, self.width) for name in names]
            for network, names in zip((student, teacher), taps, strict=True)
        ]
        # Not asked for in the control: a teacher that cannot be cut may have it.
        cut = teacher.between if self.way == "two" else None
        block = None if cut is None else cut(*taps[1])
        trained = tuple(part for each in coders for coder in each for part in coder.networks)

        def interact(seen: Seen) -> Tensor:
            (low, high), (their_low, their_high) = coders
            theirs = seen.ops.stop_gradient(seen.teacher_taps[1])
            if block is not None:
                message = low.encode(seen.student_taps[0])
                theirs = block(their_low.decode(message), training=False)
            return _apart(seen.student_taps[1], high.decode(their_high.encode(theirs)), seen)

        def messages(seen: Seen) -> Tensor:
            total: Any = 0.0
            for index in (0, 1):
                theirs = seen.ops.stop_gradient(seen.teacher_taps[index])
                own = coders[0][index].encode(seen.student_taps[index])
                total += _apart(own, coders[1][index].encode(theirs), seen)
            return total

        def states(seen: Seen) -> Tensor:
            total: Any = 0.0
            for side, taps in zip(coders, (seen.student_taps, seen.teacher_taps), strict=True):
                for coder, tap in zip(side, taps, strict=True):
                    state = seen.ops.stop_gradient(tap)
                    total += _apart(state, coder.decode(coder.encode(state)), seen)
            return total

        losses: dict[str, tuple[Callable[[Seen], Tensor], float]] = {
            "interact_loss": (interact, self.weight),
            "message_loss": (messages, self.message_weight),
            "state_loss": (states, self.state_weight),
        }
        falling = Linear(1.0, 0.0) if self.falls else None
        return [
            Term(name, loss, weight, falling, *taps, trained=trained)
            for name, (loss, weight) in losses.items()
        ]

    def _taps(self, student: Network, teacher: Network) -> tuple[tuple[str, ...], tuple[str, ...]]:
        if self.student_taps:
            return self.student_taps, self.teacher_taps
        ends = ends_of_stages(self.name, student, teacher)
        if len(ends[0]) < 2:
            raise ValueError(
                "Interaction needs maps of two sizes that student and teacher share. "
                f"Received: {ends[0]} and {ends[1]}. Name interactive.student_taps and teacher_taps."
            )
        return ends[0][-2:], ends[1][-2:]


class _Coder:
    """Encoder and decoder of a layer's maps; what is rectified there is so when it is decoded."""

    def __init__(self, keras: Any, network: Network, name: str, width: int) -> None:
        known = {layer.name: layer for layer in network.layers}
        if name not in known:
            raise ValueError(
                f"Taps must be names of layers. Received: {name}. There are {', '.join(known)}."
            )
        layer = known[name]
        channels = layer.output_shape[-1]
        activation = "relu" if layer.kind == "ReLU" else None
        self.networks = (
            _convolution(keras, channels, width, None),
            _convolution(keras, width, channels, activation),
        )

    def encode(self, state: Tensor) -> Tensor:
        """Returns the message."""
        return self.networks[0](state, training=True)

    def decode(self, message: Tensor) -> Tensor:
        """Returns the state."""
        return self.networks[1](message, training=True)


def _convolution(keras: Any, channels: Any, other: Any, activation: str | None) -> Any:
    maps = keras.Input((None, None, channels))
    return keras.Model(maps, keras.layers.Conv2D(other, 1, activation=activation)(maps))


def _apart(one: Tensor, other: Tensor, seen: Seen) -> Tensor:
    difference = seen.ops.cast(one, "float32") - seen.ops.cast(other, "float32")
    return seen.ops.mean(difference**2, axis=(1, 2, 3))
