"""Activation quantizers as settings: LSQ and PACT, each with one learned scale for a layer's output."""

import abc
import dataclasses
import math
from typing import Any, ClassVar, Literal

from tfqkd.core import learned, pact
from tfqkd.core.ops import Ops, Tensor
from tfqkd.core.quantizer import require_choice
from tfqkd.core.steps import SMALLEST_STEP

_NORMAL_MEAN = math.sqrt(2 / math.pi)
"""E|x| of a standard normal x."""

_NORMAL_LARGEST = 4.0


@dataclasses.dataclass(frozen=True)
class ActivationQuantizer(abc.ABC):
    """A quantizer of a layer's output, with one learned scale for the tensor.

    Attributes:
        bits: Width of a code, 2 to 8.
        signed: Whether its inputs may be negative.
        variable: Name of the learned scale, float32, kept above `SMALLEST_STEP`.
    """

    variable: ClassVar[str]

    bits: int = 8
    signed: bool = False

    def __post_init__(self) -> None:
        self.code_range()

    @abc.abstractmethod
    def code_range(self) -> tuple[int, int]:
        """Returns the least and the largest code."""

    @abc.abstractmethod
    def first_value(self, mean: float, largest: float) -> float:
        """Returns the first value of the learned scale for inputs of this mean and largest magnitude."""

    @abc.abstractmethod
    def quantize(self, values: Tensor, scale: Tensor, ops: Ops) -> Tensor:
        """Returns the quantized float32 values, with their pseudo-gradient.

        Args:
            values: Of a batch, [N, ...], float32.
            scale: The learned scale, a float32 scalar.
            ops: The functions to compute with.
        """

    @abc.abstractmethod
    def step(self, scale: Tensor) -> Tensor:
        """Returns the step Δ, a float32 scalar: every output is Δ times a code."""

    def scale_at(self, scale: Tensor, bits: int) -> Tensor:
        """Returns the scale at which `with_bits(bits, signed)` has the same largest value.

        Args:
            scale: The learned scale of this width.
            bits: The other width, 2 to 8.
        """
        del bits
        return scale

    def penalty(self, scale: Tensor) -> Tensor | None:
        """Returns what the learned scale adds to the loss; None for nothing."""
        del scale
        return None

    def uncalibrated(self) -> float:
        """Returns the first value for a rectified (signed: plain) standard normal input."""
        mean = _NORMAL_MEAN if self.signed else _NORMAL_MEAN / 2
        return self.first_value(mean, _NORMAL_LARGEST)

    def with_bits(self, bits: int, signed: bool) -> "ActivationQuantizer":
        """Returns the same quantizer with another width and sign."""
        return dataclasses.replace(self, bits=bits, signed=signed)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ActivationQuantizer":
        """Returns the quantizer of a config."""
        return cls(**config)


@dataclasses.dataclass(frozen=True)
class LsqActivationQuantizer(ActivationQuantizer):
    """LSQ for activations (arXiv 1902.08153): a learned step; formula and gradient: `learned.lsq`.

    Codes are 0 to 2^b - 1, signed -2^(b-1) to 2^(b-1) - 1.

    Args:
        bits: 2 to 8.
        signed: Whether inputs may be negative.
        start: Where the step starts: "mean" (default), `2·E|x|/sqrt(Q_P)` as published; "largest",
            `max|x|/Q_P`, which clips nothing. With 8 bits the published start reaches far beyond the largest
            input (22 times the mean), and the step shrinks slowly.

    Raises:
        ValueError: If a setting is none of these.
    """

    variable = "step"

    start: Literal["mean", "largest"] = "mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice("start", self.start, ("mean", "largest"))

    def code_range(self) -> tuple[int, int]:
        """Returns `-Q_N` and `Q_P`."""
        return learned.code_range(self.bits, self.signed)

    def first_value(self, mean: float, largest: float) -> float:
        """Returns `2·E|x|/sqrt(Q_P)`, or `max|x|/Q_P`."""
        upper = self.code_range()[1]
        first = 2 * mean / upper**0.5 if self.start == "mean" else largest / upper
        return max(first, SMALLEST_STEP)

    def quantize(self, values: Tensor, scale: Tensor, ops: Ops) -> Tensor:
        """Returns `learned.lsq`; an example's activations count for the gradient's scale."""
        lower, upper = self.code_range()
        count = math.prod(ops.shape(values)[1:])
        return learned.lsq(
            values, scale, lower, upper, learned.gradient_scale(count, upper, ops), ops
        )

    def step(self, scale: Tensor) -> Tensor:
        """Returns the learned step."""
        return scale

    def scale_at(self, scale: Tensor, bits: int) -> Tensor:
        """Returns `Δ·Q_P/Q_P'`."""
        return scale * (self.code_range()[1] / learned.code_range(bits, self.signed)[1])


@dataclasses.dataclass(frozen=True)
class PactQuantizer(ActivationQuantizer):
    """PACT (arXiv 1805.06085): a learned clipping value; formula and gradient: `pact.pact`.

    Codes are 0 to 2^b - 1, signed -(2^(b-1) - 1) to 2^(b-1) - 1. The clipping value starts at the largest
    magnitude seen, and an L2 loss of its own draws it in, as published.

    Args:
        bits: 2 to 8.
        signed: Whether inputs may be negative.
        regularization: Factor of `α²` in the loss; 2e-4 as for the paper's ResNet20, whose factor for `α` is
            that of the weights (appendices A.2 and B).

    Raises:
        ValueError: If `bits` is none of these, or `regularization` is negative.
    """

    variable = "clip"

    regularization: float = 2e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.regularization >= 0:
            raise ValueError(
                f"`regularization` must be 0 or more. Received: regularization={self.regularization}."
            )

    def code_range(self) -> tuple[int, int]:
        """Returns `-n` or 0, and `n`, the number of steps up to the clipping value."""
        levels = pact.pact_levels(self.bits, self.signed)
        return (-levels if self.signed else 0), levels

    def first_value(self, mean: float, largest: float) -> float:
        """Returns the largest magnitude: at first nothing is clipped."""
        del mean
        return max(largest, SMALLEST_STEP)

    def quantize(self, values: Tensor, scale: Tensor, ops: Ops) -> Tensor:
        """Returns `pact.pact`."""
        return pact.pact(values, scale, self.bits, self.signed, ops)

    def step(self, scale: Tensor) -> Tensor:
        """Returns `α/n`."""
        return scale / self.code_range()[1]

    def penalty(self, scale: Tensor) -> Tensor:
        """Returns `regularization · α²`."""
        return self.regularization * (scale * scale)


ACTIVATION_QUANTIZERS: dict[str, type[ActivationQuantizer]] = {
    cls.__name__: cls for cls in (LsqActivationQuantizer, PactQuantizer)
}
"""The activation quantizers by name, as files name them; a new one is added here."""
