"""Terms: what a method adds to the loss of a step, in plain values that every front understands."""

import dataclasses
from collections.abc import Callable
from typing import Any

from tfqkd.core.ops import Ops, Tensor
from tfqkd.core.schedules import Schedule
from tfqkd.core.weights import Weight, ratio_of, require_weight


@dataclasses.dataclass(frozen=True)
class Raised:
    """A second pass of the student, whose quantized activations have more bits at random.

    Each is drawn again at every step, on all replicas alike, and keeps its largest value. The pass is one of
    training, on the statistics of the batch, and moves nothing: no average, no step, no random state.

    Attributes:
        bits: Of what is raised; what has as many keeps its own.
        probability: That one is raised.
        seed: Of what is drawn, 0..2**31-1.
    """

    bits: int
    probability: float
    seed: int


@dataclasses.dataclass(frozen=True)
class Seen:
    """What a term sees of a step, on this replica's part of the batch.

    Attributes:
        inputs: What the student was shown.
        labels: Of it, as the batch has them.
        student: The student's outputs, float32 `[batch, outputs]`.
        teacher: The teacher's, of the same shape, without a gradient; None where none is asked.
        peer: The outputs of the term's own peer, in training mode; None without one.
        student_taps: The outputs of the student's layers that the term names, float32.
        teacher_taps: The outputs of the teacher's layers, without a gradient.
        raised: The student's own outputs in the term's second pass, without a gradient; None without one.
        hard: The compiled loss of any outputs on the labels, a mean over the batch.
        ops: The table of the front's functions.
    """

    inputs: Any
    labels: Any
    student: Tensor
    teacher: Tensor | None
    peer: Tensor | None
    student_taps: tuple[Tensor, ...]
    teacher_taps: tuple[Tensor, ...]
    raised: Tensor | None
    hard: Callable[[Tensor], Tensor]
    ops: Ops


@dataclasses.dataclass(frozen=True)
class Term:
    """A summand of the loss: `weight·s(t)·loss`, besides `(1-λ)·hard + λ·soft`.

    Attributes:
        name: Under which the unweighted loss is logged.
        loss: From what is seen of a step to the loss: one value for each example, or their mean.
        weight: What multiplies it, 0 or more; or `balanced:R`, found once by the gradients of the first step.
        schedule: What multiplies the weight in each epoch, by progress from 0 to 1; None for 1.
        student_taps: Names of the student's layers whose outputs it reads, wrapped or not.
        teacher_taps: Names of the layers of the one live teacher whose outputs it reads.
        peer: A network of the front that trains along on the student's batches, or None.
        trained: Networks of the front that `loss` itself calls, and that train along: adapters, say.
        raised: The second pass of the student that it reads, or None.
    """

    name: str
    loss: Callable[[Seen], Tensor]
    weight: Weight = 1.0
    schedule: Schedule | None = None
    student_taps: tuple[str, ...] = ()
    teacher_taps: tuple[str, ...] = ()
    peer: Any = None
    trained: tuple[Any, ...] = ()
    raised: Raised | None = None

    def __post_init__(self) -> None:
        said = f"{self.name} with weight={self.weight}"
        require_weight("The weight of a term", self.weight, said)

    @property
    def factor(self) -> float:
        """The number that multiplies it, besides what is found where it is balanced."""
        return 1.0 if isinstance(self.weight, str) else self.weight

    @property
    def ratio(self) -> float | None:
        """R of a balanced term: how large its gradient is, beside that of the hard loss; None of another."""
        return ratio_of(self.weight)

    @property
    def networks(self) -> tuple[Any, ...]:
        """All that trains beside the student."""
        return (*([] if self.peer is None else [self.peer]), *self.trained)


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer of a network, as a method sees it when it chooses taps.

    Attributes:
        name: Its own, without the prefix of a wrapper.
        kind: The name of its class.
        output_shape: Without the batch; None where an axis is unknown.
    """

    name: str
    kind: str
    output_shape: tuple[int | None, ...]


@dataclasses.dataclass(frozen=True)
class Network:
    """A network before its training, as a method sees it when it makes its terms.

    Attributes:
        name: Its own.
        layers: In the order in which they compute; empty where a teacher shows none.
        build: Makes another network for the same data, from random weights: its name (None for the one that
            the run builds for this role), and a seed.
        ops: The table of the front's functions.
        keras: The Keras module of the front, for layers of a method's own.
        twin: Makes a network that computes as the student does, quantized alike, from random weights; only
            the student has one.
        activation_bits: The widths of its quantized activations.
        between: Makes the part of the network from one named layer's output to another's, with the weights
            of now.
    """

    name: str
    layers: tuple[Layer, ...]
    build: Callable[[str | None, int], Any]
    ops: Ops
    keras: Any
    twin: Callable[[], Any] | None = None
    activation_bits: tuple[int, ...] = ()
    between: Callable[[str, str], Any] | None = None
