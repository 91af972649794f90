"""Gradual quantization: from more bits to fewer, or on a share of the weights that grows."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfqkd.core.ops import Ops, Tensor
from tfqkd.core.quantizer import Granularity, State, WeightQuantizer
from tfqkd.core.quantizers import QUANTIZERS

_WIDTH, _SHARE, _MASK, _RESTING = "width", "share", "mask", "resting"


@dataclasses.dataclass(frozen=True)
class GradualQuantizer(WeightQuantizer):
    """Another quantizer that is reached gently; a callback of the front moves it on during `fit`.

    Wider first: the weights have the first of `wider` bits, then the next, at last those of the quantizer;
    each width has a state of its own (a step, say), taken again from the latent weights when its turn comes.

    By share, after incremental network quantization (arXiv 1702.03044, section 3): only the weights of
    largest magnitude are quantized, a share that grows; they rest while the others, still float, make up for
    their error. Unlike there, when all are quantized they train on, straight through.

    The state holds the states of all widths, named `8bit_step` say, the index of the present width, and by
    share: the share, and which weights rest at which values.

    Args:
        quantizer: The quantizer of the end.
        wider: Widths that come before its own, falling.
        by_share: Whether a growing share of the weights is quantized.

    Raises:
        ValueError: If `wider` does not fall towards the quantizer's bits.
    """

    quantizer: WeightQuantizer
    wider: Sequence[int] = ()
    by_share: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "wider", tuple(self.wider))
        widths = [*self.wider, self.bits]
        if widths != sorted(set(widths), reverse=True):
            raise ValueError(
                f"`wider` must fall towards the quantizer's {self.bits} bits. "
                f"Received: wider={self.wider}. For example (8, 4) before 2."
            )

    @property
    def bits(self) -> int:  # type: ignore[override]
        """Those of the end."""
        return self.quantizer.bits

    @property
    def granularity(self) -> Granularity:  # type: ignore[override]
        """That of the quantizer."""
        return self.quantizer.granularity

    @property
    def gradient_bits(self) -> int | None:  # type: ignore[override]
        """Those of the quantizer."""
        return self.quantizer.gradient_bits

    @property
    def rests(self) -> bool:  # type: ignore[override]
        """Whether it goes by share: the share of weights that is quantized rests."""
        return self.by_share

    @property
    def stages(self) -> list[WeightQuantizer]:
        """The quantizers of all widths, in the order of training."""
        return [self.quantizer.with_bits(bits) for bits in (*self.wider, self.bits)]

    @property
    def learned(self) -> tuple[str, ...]:
        """What the quantizers of all widths learn."""
        return tuple(_named(stage, key) for stage in self.stages for key in stage.learned)

    @property
    def followed(self) -> tuple[str, ...]:
        """What follows the weights, of all widths."""
        return tuple(_named(stage, key) for stage in self.stages for key in stage.followed)

    def initial_state(
        self, weights: Any, channel_axes: Sequence[int] = (-1,)
    ) -> dict[str, np.ndarray]:
        """Returns the states of all widths, the first of them present, and no weight at rest."""
        state: dict[str, np.ndarray] = {}
        for stage in self.stages:
            first = stage.initial_state(weights, channel_axes)
            state |= {_named(stage, key): value for key, value in first.items()}
        state[_WIDTH] = np.zeros((), np.float32)
        if self.by_share:
            state[_SHARE] = np.zeros((), np.float32)
            state[_MASK] = np.zeros(np.shape(weights), np.float32)
            state[_RESTING] = np.zeros(np.shape(weights), np.float32)
        return state

    def restored(self, weights: Tensor, state: State, ops: Ops) -> Tensor:
        """Returns the weights with those that rest where they were when they began to.

        The optimizer's momentum and weight decay move them without a gradient. That is undone in the graph:
        it does not matter how many steps a call of the compiled function makes.
        """
        if not self.by_share:
            return weights
        at_rest = ops.logical_and(state[_SHARE] < 1.0, state[_MASK] > 0)
        return ops.where(at_rest, state[_RESTING], weights)

    def updated(self, weights: Tensor, state: State, ops: Ops) -> dict[str, Tensor]:
        """Returns the states of all widths, in which that of the present one has followed the weights."""
        if not self.followed:
            return {}

        def moved(stage: WeightQuantizer) -> dict[str, Tensor]:
            own = stage.updated(weights, _state_of(stage, state), ops)
            kept = {key: state[key] for key in self.followed}
            return kept | {_named(stage, key): value for key, value in own.items()}

        return self._switch(moved, state, ops)

    def quantize(self, weights: Tensor, state: State, ops: Ops) -> Tensor:
        """Returns the weights at the present width, the share's quantized and the others as they are."""

        def at_width(values: Tensor) -> Tensor:
            return self._switch(
                lambda stage: stage.quantize(values, _state_of(stage, state), ops), state, ops
            )

        if not self.by_share:
            return at_width(weights)
        weights = self.restored(weights, state, ops)
        complete = state[_SHARE] >= 1.0
        quantized = at_width(ops.where(complete, weights, ops.stop_gradient(weights)))
        chosen = ops.logical_or(complete, state[_MASK] > 0)
        return ops.where(chosen, quantized, weights)

    def scales(self, weights: Tensor, state: State, ops: Ops) -> Tensor:
        """Returns those of the present width, which is read on the host."""
        stage = self.stages[int(state[_WIDTH])]
        weights = self.restored(weights, state, ops)
        return stage.scales(weights, _state_of(stage, state), ops)

    def at_width(self, index: int, weights: Any, state: State) -> dict[str, np.ndarray]:
        """Returns what to assign to the state for the width of an index, taken again from the weights.

        Args:
            index: Into `stages`.
            weights: The latent weights, an array or what becomes one.
            state: The state, of arrays or what becomes them.
        """
        if int(state[_WIDTH]) == index:
            return {}
        stage = self.stages[index]
        # The axes of a per-channel scale are those that its present shape keeps.
        shapes = [np.shape(value) for value in _state_of(stage, state).values()]
        shape = next(iter(shapes), ())
        axes = [axis for axis, size in enumerate(shape) if size != 1]
        first = stage.initial_state(weights, axes)
        changed = {_named(stage, key): value for key, value in first.items()}
        return {**changed, _WIDTH: np.asarray(index, np.float32)}

    def at_share(self, share: float, weights: Any, state: State) -> dict[str, np.ndarray]:
        """Returns what to assign to the state for a larger share: who rests, and where.

        Args:
            share: Of the weights, 0 to 1; at 1 none rests any more.
            weights: The latent weights, an array or what becomes one.
            state: The state, of arrays or what becomes them.
        """
        if float(state[_SHARE]) == np.float32(share):
            return {}
        latent, mask = np.asarray(weights), np.asarray(state[_MASK])
        # Who is quantized already stays so; then the largest follow.
        order = np.lexsort((np.abs(latent).ravel(), mask.ravel()))[::-1]
        chosen = np.zeros(latent.size, np.float32)
        chosen[order[: round(share * latent.size)]] = 1.0
        return {
            _MASK: chosen.reshape(latent.shape),
            _RESTING: latent,
            _SHARE: np.asarray(share, np.float32),
        }

    def with_bits(self, bits: int) -> "GradualQuantizer":
        """Returns the same for another width at the end, with the wider ones that remain before it."""
        wider = [width for width in self.wider if width > bits]
        return GradualQuantizer(self.quantizer.with_bits(bits), wider, self.by_share)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor, as JSON takes them."""
        return {
            "quantizer": type(self.quantizer).__name__,
            "settings": self.quantizer.get_config(),
            "wider": list(self.wider),
            "by_share": self.by_share,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "GradualQuantizer":
        """Returns the quantizer of a config."""
        quantizer = QUANTIZERS[config["quantizer"]].from_config(config["settings"])
        return cls(quantizer, config["wider"], config["by_share"])

    def _switch(self, value_of: Any, state: State, ops: Ops) -> Any:
        """What a function gives for the stage of the present width."""
        if len(self.stages) == 1:
            return value_of(self.stages[0])
        index = ops.cast(state[_WIDTH], "int32")
        return ops.switch(index, [lambda stage=stage: value_of(stage) for stage in self.stages])


def _named(stage: WeightQuantizer, key: str) -> str:
    return f"{stage.bits}bit_{key}"


def _state_of(stage: WeightQuantizer, state: State) -> dict[str, Tensor]:
    prefix = _named(stage, "")
    return {key.removeprefix(prefix): v for key, v in state.items() if key.startswith(prefix)}
