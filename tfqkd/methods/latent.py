"""Latent distillation, as TinyBERT's (arXiv 1909.10351): hidden states and attention scores are compared.

`L = Σ_j mean (W·H_S^j - H_T^g(j))² + Σ_j mean (A_S^j - A_T^g(j))²`, with `H` the states at the ends of blocks
or stages, `A` the scores before the softmax, and `g(j)` every k-th of the teacher's blocks.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any, ClassVar

from tfqkd.core.ops import Tensor
from tfqkd.core.schedules import Linear
from tfqkd.fronts.terms import Network, Seen, Term
from tfqkd.methods.method import Method
from tfqkd.methods.taps import ends_of_stages, one_teacher

Pairs = list[tuple[str, str]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Latent(Method):
    """Adds `weight·L` over pairs of layers of student and one teacher.

    By default they are, of networks with blocks named as those of a `vit`, the embedded tokens, the ends of
    the blocks and the scores of each head; of others, the ends of the stages that both have. W is a linear
    layer to the teacher's width, one for all pairs of the same two widths, which starts as the identity where
    the widths agree. It trains along, is in every checkpoint, and in no file.

    Attributes:
        weight: Weight of the term, 0 or more; small students lose by it if it stays high to the end.
        falls: Whether the weight falls to 0 on a straight line over the epochs.
        student_taps: Names of the student's layers whose states are compared.
        teacher_taps: Names of the teacher's layers, as many, of the same sizes but for their widths.
        student_scores: Names of the student's layers of attention scores.
        teacher_scores: Names of the teacher's layers of attention scores, as many, of the same shapes.
    """

    name: ClassVar[str] = "latent"
    needs: ClassVar[frozenset[str]] = frozenset({"terms", "peers", "layers"})
    asks_teacher: ClassVar[bool] = True

    weight: float = 1.0
    falls: bool = False
    student_taps: tuple[str, ...] = ()
    teacher_taps: tuple[str, ...] = ()
    student_scores: tuple[str, ...] = ()
    teacher_scores: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for kind in ("taps", "scores"):
            names = [getattr(self, f"{role}_{kind}") for role in ("student", "teacher")]
            if len(names[0]) != len(names[1]):
                raise ValueError(
                    f"`latent.student_{kind}` and `latent.teacher_{kind}` must name the same number of "
                    f"layers. Received: {names[0]} and {names[1]}."
                )

    def terms(self, student: Network, teachers: Sequence[Network]) -> Sequence[Term]:
        """Returns the one term, with its linear layers.

        Raises:
            ValueError: If there is not one teacher that shows its layers, or layers do not fit.
        """
        teacher = one_teacher(self.name, teachers)
        hidden, scores = self._pairs(student, teacher)
        shapes = [
            {layer.name: layer.output_shape for layer in each.layers} for each in (student, teacher)
        ]
        _require_fit(hidden, shapes, slice(None, -1))
        _require_fit(scores, shapes, slice(None))
        kinds = [
            (len(shapes[0][one]), shapes[0][one][-1], shapes[1][other][-1]) for one, other in hidden
        ]
        # In the order of the pairs, so that their first weights are always the same.
        linear = {kind: _linear(student.keras, *kind) for kind in dict.fromkeys(kinds)}

        def loss(seen: Seen) -> Tensor:
            total: Any = 0.0
            taps = zip(seen.student_taps, seen.teacher_taps, strict=True)
            for number, (one, other) in enumerate(taps):
                state = one
                if number < len(hidden):
                    state = seen.ops.cast(linear[kinds[number]](one, training=True), "float32")
                error = (state - seen.ops.stop_gradient(other)) ** 2
                total += seen.ops.mean(error, axis=tuple(range(1, len(error.shape))))
            return total

        return (
            Term(
                "latent_loss",
                loss,
                self.weight,
                Linear(1.0, 0.0) if self.falls else None,
                student_taps=tuple(one for one, _ in (*hidden, *scores)),
                teacher_taps=tuple(other for _, other in (*hidden, *scores)),
                trained=tuple(linear.values()),
            ),
        )

    def _pairs(self, student: Network, teacher: Network) -> tuple[Pairs, Pairs]:
        if self.student_taps or self.student_scores:
            return (
                list(zip(self.student_taps, self.teacher_taps, strict=True)),
                list(zip(self.student_scores, self.teacher_scores, strict=True)),
            )
        depths = [_blocks(each) for each in (student, teacher)]
        if not all(depths):
            ends = ends_of_stages(self.name, student, teacher)
            return list(zip(*ends, strict=True)), []
        if depths[1] % depths[0]:
            raise ValueError(
                "The number of the teacher's blocks must be a multiple of the student's. "
                f"Received: {depths[0]} and {depths[1]}. Choose another depth, or name the taps."
            )
        every = depths[1] // depths[0]
        found: tuple[Pairs, Pairs] = ([("embedded", "embedded")], [])
        for block in range(1, depths[0] + 1):
            found[0].append((f"block{block}_end", f"block{block * every}_end"))
            names = [
                _scores(each, number)
                for each, number in ((student, block), (teacher, block * every))
            ]
            if len(names[0]) != len(names[1]):
                raise ValueError(
                    "Attention is compared head by head. "
                    f"Received: {len(names[0])} heads and {len(names[1])}. Name the taps, without scores."
                )
            found[1].extend(zip(*names, strict=True))
        return found


def _blocks(network: Network) -> int:
    return sum(bool(re.fullmatch(r"block\d+_end", layer.name)) for layer in network.layers)


def _scores(network: Network, block: int) -> list[str]:
    pattern = rf"block{block}_head\d+_scores"
    return [layer.name for layer in network.layers if re.fullmatch(pattern, layer.name)]


def _require_fit(pairs: Pairs, shapes: list[dict[str, Any]], axes: slice) -> None:
    for pair in pairs:
        for name, known in zip(pair, shapes, strict=True):
            if name not in known:
                raise ValueError(
                    f"Taps must be names of layers. Received: {name}. There are {', '.join(known)}."
                )
        sizes = [known[name] for name, known in zip(pair, shapes, strict=True)]
        if sizes[0][axes] != sizes[1][axes]:
            raise ValueError(
                "Latent states must have the same sizes but for their widths, and scores the same. "
                f"Received: {pair[0]} of {sizes[0]} and {pair[1]} of {sizes[1]}. Name other layers."
            )


def _linear(keras: Any, rank: int, width: Any, other: Any) -> Any:
    start = "identity" if width == other else "glorot_uniform"
    state = keras.Input((*[None] * (rank - 1), width))
    linear = keras.layers.Dense(other, use_bias=False, kernel_initializer=start)
    return keras.Model(state, linear(state), name=f"latent_{rank}_{width}_to_{other}")
