"""Deep mutual learning: a peer trains along, and both learn from each other (arXiv 1706.00384)."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

from tfqkd.core.losses import soft_loss
from tfqkd.core.ops import Tensor
from tfqkd.core.weights import Weight
from tfqkd.fronts.terms import Network, Seen, Term
from tfqkd.methods.method import Method


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mutual(Method):
    """Adds `weight·KL(p_peer ‖ p_student)`, and trains a float peer by its labels and the student.

    The peer's loss is `hard + KL(p_student ‖ p_peer)` (equations 5 and 6). Both are updated in the same step,
    from one forward pass of each; the other one's distribution is a constant to each. The peer starts from
    random weights, is in every checkpoint with its part of the optimizer's state, and in no file.

    Attributes:
        network: The peer's network; empty for the student's own.
        weight: Weight of the student's divergence, 0 or more, or balanced:R.
        temperature: T > 0 of both divergences; 1 as published.
        seed: Seed of the peer's first weights.
    """

    name: ClassVar[str] = "mutual"
    needs: ClassVar[frozenset[str]] = frozenset({"terms", "peers"})

    network: str = ""
    weight: Weight = 1.0
    temperature: float = 1.0
    seed: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.temperature < float("inf"):
            raise ValueError(
                "`mutual.temperature` must be above 0 and finite. "
                f"Received: mutual.temperature={self.temperature}."
            )

    def terms(self, student: Network, teachers: Sequence[Network]) -> Sequence[Term]:
        """Returns the student's term and the peer's own loss, which reaches the peer alone."""
        peer = student.build(self.network or None, self.seed)

        def mutual(seen: Seen) -> Tensor:
            return self._divergence(seen.peer, seen.student, seen)

        def learning(seen: Seen) -> Tensor:
            divergence = self._divergence(seen.student, seen.peer, seen)
            return seen.hard(seen.peer) + seen.ops.mean(divergence)

        return (
            Term("mutual_loss", mutual, self.weight, peer=peer),
            Term("peer_loss", learning, peer=peer),
        )

    def _divergence(self, constant: Tensor, learning: Tensor, seen: Seen) -> Tensor:
        return soft_loss(constant, learning, self.temperature, kind="kl", ops=seen.ops)
