"""SPEQ: the student at higher precision is its own teacher, after the abstract of arXiv 2009.14502.

Notation: a quantized activation has n_A bits; in the teacher's pass it has n_H with probability u, drawn for
each at every step, with the same largest value α, so a finer step `Δ_H = α/(2^n_H - 1)`. `z_S` and `z_H` are
the logits of both passes, from the same weights, `p = softmax(z/T)`:

    L = H(y, softmax(z_S)) + μ·(1 - cos(p_H, p_S))

Gradients flow through the student's pass alone.
"""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, Literal

from tfqkd.core.losses import cosine_soft_loss, soft_loss
from tfqkd.core.ops import Tensor
from tfqkd.fronts.terms import Network, Raised, Seen, Term
from tfqkd.methods.method import Method


@dataclasses.dataclass(frozen=True, kw_only=True)
class Speq(Method):
    """Adds `weight·(1 - cos(p_H, p_S))`, where the student teaches itself at more activation bits.

    The paper's full text was not read. In its abstract and a reading note are: a draw for each layer, 8 bits
    in a figure, u = 0.5, and the cosine; that it is of probabilities, T, μ, the factor T², the form of the
    sum, and batch norm in the teacher's pass are our choices. Batch norm takes the batch's statistics in both
    passes, and its averages follow the student's alone.

    Attributes:
        weight: μ of the sum above, 0 or more.
        bits: n_H, 3 to 8, more than the activations have.
        probability: u, in [0, 1], that an activation is raised in a step; 0 is the control.
        temperature: T of both passes' probabilities, above 0.
        loss: How the two are compared: cosine, or kl.
        scale_by_temperature_squared: Whether the loss is multiplied by T².
        form: added, as above, or shared: (1-μ)·H + μ·L, which is logged as L - H.
        seed: Seed of the draws, 0 to 2**31-1.
    """

    name: ClassVar[str] = "speq"
    needs: ClassVar[frozenset[str]] = frozenset({"terms", "raised"})

    weight: float = 1.0
    bits: int = 8
    probability: float = 0.5
    temperature: float = 2.0
    loss: Literal["cosine", "kl"] = "cosine"
    scale_by_temperature_squared: bool = False
    form: Literal["added", "shared"] = "added"
    seed: int = 0

    def __post_init__(self) -> None:
        ranges = {
            "bits": (3 <= self.bits <= 8, "3 to 8"),
            "probability": (0 <= self.probability <= 1, "in [0, 1]"),
            "temperature": (0 < self.temperature < float("inf"), "above 0 and finite"),
            "loss": (self.loss in ("cosine", "kl"), "cosine or kl"),
            "form": (self.form in ("added", "shared"), "added or shared"),
            "seed": (0 <= self.seed < 2**31, "0 to 2**31-1"),
        }
        for field, (is_right, rule) in ranges.items():
            if not is_right:
                value = getattr(self, field)
                raise ValueError(f"`speq.{field}` must be {rule}. Received: speq.{field}={value}.")

    def terms(self, student: Network, teachers: Sequence[Network]) -> Sequence[Term]:
        """Returns the one term.

        Raises:
            ValueError: If the student has no activations of fewer bits.
        """
        del teachers
        if min(student.activation_bits, default=self.bits) >= self.bits:
            raise ValueError(
                f"SPEQ needs a student with quantized activations of fewer than {self.bits} bits: there is "
                f"nothing else to vary. Received: activations of {list(student.activation_bits)} bits. Set "
                "--quantize.activation_bits, e.g. to 2."
            )
        raised = Raised(self.bits, self.probability, self.seed)
        return (Term("speq_loss", self._compared, self.weight, raised=raised),)

    def _compared(self, seen: Seen) -> Tensor:
        squared = self.scale_by_temperature_squared
        pair = seen.raised, seen.student, self.temperature
        if self.loss == "cosine":
            loss = cosine_soft_loss(*pair, scale_by_temperature_squared=squared, ops=seen.ops)
        else:
            loss = soft_loss(*pair, "kl", scale_by_temperature_squared=squared, ops=seen.ops)
        return loss - seen.hard(seen.student) if self.form == "shared" else loss
