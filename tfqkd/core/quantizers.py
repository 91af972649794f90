"""The weight quantizers as settings: the paper's uniform one, and TWN, BitNet's, TTQ, LSQ and DoReFa."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfqkd.core import dorefa, learned, steps, ternary, uniform
from tfqkd.core.ops import Ops, Tensor
from tfqkd.core.quantizer import (
    GRANULARITIES,
    STEP_UPDATES,
    Granularity,
    State,
    StepUpdate,
    WeightQuantizer,
    require_choice,
)


@dataclasses.dataclass(frozen=True)
class UniformQuantizer(WeightQuantizer):
    """Uniform symmetric weights with the L2-optimal step (arXiv 1909.01688): -Δ, 0, Δ for 2 bits.

    The formula and the gradient are those of `uniform.quantize`.

    Args:
        bits: 2 (ternary) to 8.
        granularity: "tensor" (default, as in the paper): one step per layer. "channel": one per output
            channel; before a batch norm, which scales each channel anyway, it buys little.
        step_update: "once" (default, as in the paper): the step is the optimum for the weights that the
            layer holds when it is quantized, and stays. "every_step": it follows the latent weights at
            every training step (`uniform.follow_step`).

    Raises:
        ValueError: If a setting is none of the above.
    """

    bits: int = 2
    granularity: Granularity = "tensor"
    step_update: StepUpdate = "once"

    def __post_init__(self) -> None:
        steps.largest_code(self.bits)
        require_choice("granularity", self.granularity, GRANULARITIES)
        require_choice("step_update", self.step_update, STEP_UPDATES)

    def initial_state(
        self, weights: Any, channel_axes: Sequence[int] = (-1,)
    ) -> dict[str, np.ndarray]:
        """Returns the L2-optimal step."""
        weights = np.asarray(weights)
        axes = self._axes(weights, channel_axes)
        return {"step": steps.optimal_step(weights, self.bits, axes)}

    @property
    def followed(self) -> tuple[str, ...]:
        """The step, if it is taken at every step."""
        return ("step",) if self.step_update == "every_step" else ()

    def updated(self, weights: Tensor, state: State, ops: Ops) -> dict[str, Tensor]:
        """Returns the step that follows the weights, if it is taken at every step."""
        if not self.followed:
            return {}
        return {"step": uniform.follow_step(weights, state["step"], self.bits, ops)}

    def quantize(self, weights: Tensor, state: State, ops: Ops) -> Tensor:
        """Returns `uniform.quantize`."""
        return uniform.quantize(weights, state["step"], self.bits, ops)

    def scales(self, weights: Tensor, state: State, ops: Ops) -> Tensor:
        """Returns the step."""
        return state["step"]


class _Ternary(WeightQuantizer):
    """A quantizer that knows two bits only."""

    bits = 2

    def with_bits(self, bits: int) -> WeightQuantizer:
        """Returns the same quantizer.

        Raises:
            ValueError: If `bits` is not 2.
        """
        if bits != 2:
            raise ValueError(
                f"{type(self).__name__} is ternary: `bits` must be 2. Received: bits={bits!r}. "
                "For other widths choose LsqQuantizer, DorefaQuantizer or UniformQuantizer."
            )
        return self


@dataclasses.dataclass(frozen=True)
class TwnQuantizer(_Ternary):
    """Ternary weight networks (arXiv 1605.04711): threshold 0.7·E|w|, scale the mean |w| above it.

    Both follow the latent weights at every step. Formula and gradient: `ternary.twn`.
    """

    def initial_state(
        self, weights: Any, channel_axes: Sequence[int] = (-1,)
    ) -> dict[str, np.ndarray]:
        """Returns nothing: threshold and scale come from the weights."""
        return {}

    def quantize(self, weights: Tensor, state: State, ops: Ops) -> Tensor:
        """Returns `ternary.twn`."""
        return ternary.twn(weights, ops)

    def scales(self, weights: Tensor, state: State, ops: Ops) -> Tensor:
        """Returns the scale α."""
        return ternary.twn_scale(weights, ternary.twn_threshold(weights, ops), ops)


@dataclasses.dataclass(frozen=True)
class AbsmeanQuantizer(_Ternary):
    """BitNet b1.58's ternary weights (arXiv 2402.17764): scale γ = E|w|, threshold γ/2.

    Both follow the latent weights at every step. Formula and gradient: `ternary.absmean`.
    """

    def initial_state(
        self, weights: Any, channel_axes: Sequence[int] = (-1,)
    ) -> dict[str, np.ndarray]:
        """Returns nothing: the scale comes from the weights."""
        return {}

    def quantize(self, weights: Tensor, state: State, ops: Ops) -> Tensor:
        """Returns `ternary.absmean`."""
        return ternary.absmean(weights, ops)

    def scales(self, weights: Tensor, state: State, ops: Ops) -> Tensor:
        """Returns the scale γ."""
        return ternary.absmean_scale(weights, ops)


@dataclasses.dataclass(frozen=True)
class TtqQuantizer(_Ternary):
    """Trained ternary quantization (arXiv 1612.01064): -Wn, 0 and Wp with two learned scales.

    The threshold is 0.05·max|w|; the scales start from the mean magnitudes of the weights beyond it on
    either side, which is the L2 optimum. Formula and gradient: `ternary.ttq`.
    """

    @property
    def learned(self) -> tuple[str, ...]:
        """Both scales."""
        return ("positive", "negative")

    def initial_state(
        self, weights: Any, channel_axes: Sequence[int] = (-1,)
    ) -> dict[str, np.ndarray]:
        """Returns the first `positive` and `negative` scales, `Wp` and `Wn`."""
        positive, negative = steps.ttq_scales(weights)
        return {"positive": positive, "negative": negative}

    def quantize(self, weights: Tensor, state: State, ops: Ops) -> Tensor:
        """Returns `ternary.ttq`."""
        threshold = ternary.ttq_threshold(ops.stop_gradient(weights), ops)
        return ternary.ttq(weights, threshold, state["positive"], state["negative"], ops)

    def scales(self, weights: Tensor, state: State, ops: Ops) -> Tensor:
        """Returns `Wp` and `Wn`, shape [2]."""
        return ops.stack([state["positive"], state["negative"]])


@dataclasses.dataclass(frozen=True)
class LsqQuantizer(WeightQuantizer):
    """Learned step size quantization (arXiv 1902.08153): codes -2^(b-1) to 2^(b-1) - 1, a learned step.

    Formula, gradient and its scale: `learned.lsq`. The first step is `2·E|w|/sqrt(Q_P)`.

    Args:
        bits: 2 to 8; 2 has the four codes -2, -1, 0 and 1.
        granularity: "tensor" (default, as published): one step per layer. "channel": one per output
            channel; a batch norm behind the layer scales each channel anyway and leaves the step little
            gradient.

    Raises:
        ValueError: If a setting is none of the above.
    """

    bits: int = 2
    granularity: Granularity = "tensor"

    def __post_init__(self) -> None:
        steps.largest_code(self.bits)
        require_choice("granularity", self.granularity, GRANULARITIES)

    @property
    def learned(self) -> tuple[str, ...]:
        """The step."""
        return ("step",)

    def initial_state(
        self, weights: Any, channel_axes: Sequence[int] = (-1,)
    ) -> dict[str, np.ndarray]:
        """Returns the first step."""
        weights = np.asarray(weights)
        _, upper = learned.code_range(self.bits)
        return {"step": steps.lsq_step(weights, upper, self._axes(weights, channel_axes))}

    def quantize(self, weights: Tensor, state: State, ops: Ops) -> Tensor:
        """Returns `learned.lsq`."""
        lower, upper = learned.code_range(self.bits)
        count = int(np.prod(weights.shape) // np.prod(state["step"].shape))
        gradient_scale = learned.gradient_scale(count, upper, ops)
        return learned.lsq(weights, state["step"], lower, upper, gradient_scale, ops)

    def scales(self, weights: Tensor, state: State, ops: Ops) -> Tensor:
        """Returns the step."""
        return state["step"]


@dataclasses.dataclass(frozen=True)
class DorefaQuantizer(WeightQuantizer):
    """DoReFa-Net's weights (arXiv 1606.06160): tanh, scaled to [-1, 1], on 2^b levels without zero.

    Formula and gradient: `dorefa.dorefa`. The scale of the weights is lost: put it on layers that a batch
    norm follows.

    Args:
        bits: 2 to 8.
        gradient_bits: Width, 2 to 8, to which the gradients of the layers' outputs are rounded
            stochastically (`dorefa.rounded_gradient`); None (default) leaves them float.

    Raises:
        ValueError: If `bits` or `gradient_bits` is none of these.
    """

    bits: int = 2
    gradient_bits: int | None = None

    def __post_init__(self) -> None:
        steps.largest_code(self.bits)
        if self.gradient_bits is not None:
            steps.largest_code(self.gradient_bits)

    def initial_state(
        self, weights: Any, channel_axes: Sequence[int] = (-1,)
    ) -> dict[str, np.ndarray]:
        """Returns nothing: the levels are fixed."""
        return {}

    def quantize(self, weights: Tensor, state: State, ops: Ops) -> Tensor:
        """Returns `dorefa.dorefa`."""
        return dorefa.dorefa(weights, self.bits, ops)

    def scales(self, weights: Tensor, state: State, ops: Ops) -> Tensor:
        """Returns `1/n`, by which the odd codes are multiplied."""
        return ops.convert_to_tensor(1.0 / dorefa.level_count(self.bits), "float32")


QUANTIZERS: dict[str, type[WeightQuantizer]] = {
    cls.__name__: cls
    for cls in (
        UniformQuantizer,
        TwnQuantizer,
        AbsmeanQuantizer,
        TtqQuantizer,
        LsqQuantizer,
        DorefaQuantizer,
    )
}
"""The quantizers by name, as files name them; a new one is added here."""
