"""The base of all weight quantizers: settings that say what state each starts from and what it computes.

A quantizer holds no tensors. A front keeps the state in variables beside the latent weights, float32, and
at every training step

1. assigns `restored(weights, state)` to the weights, if the quantizer `rests`,
2. assigns `updated(weights, state)` to the state,
3. computes with `quantize(weights, state)`.
"""

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from tfqkd.core.ops import Ops, Tensor

Granularity = Literal["tensor", "channel"]
StepUpdate = Literal["once", "every_step"]
State = Mapping[str, Tensor]

GRANULARITIES: tuple[str, ...] = ("tensor", "channel")
STEP_UPDATES: tuple[str, ...] = ("once", "every_step")


class WeightQuantizer(abc.ABC):
    """A quantizer of a layer's kernel: what every weight quantizer of tfqkd offers.

    Attributes:
        bits: Width of a code, 2 to 8.
        granularity: "tensor", or "channel" where each output channel has a scale of its own.
        gradient_bits: Width to which the gradients of the layers' outputs are rounded; None for float.
        rests: Whether some weights rest while others train (see `restored`).
    """

    bits: int
    granularity: Granularity = "tensor"
    gradient_bits: int | None = None
    rests: bool = False

    @property
    def innermost(self) -> "WeightQuantizer":
        """Itself; of one around others the one that is around no other."""
        return self

    @property
    def learned(self) -> tuple[str, ...]:
        """Names of the state that the optimizer trains, without weight decay, above `SMALLEST_STEP`."""
        return ()

    @property
    def followed(self) -> tuple[str, ...]:
        """Names of the state that `updated` gives at every training step."""
        return ()

    @abc.abstractmethod
    def initial_state(
        self, weights: Any, channel_axes: Sequence[int] = (-1,)
    ) -> dict[str, np.ndarray]:
        """Returns the first values of the state for trained weights, by name, float32.

        Args:
            weights: The weights, an array or what becomes one.
            channel_axes: Axes of the output channels, which have scales of their own if `granularity` is
                "channel".

        Raises:
            ValueError: If a weight is NaN or infinite.
        """

    @abc.abstractmethod
    def quantize(self, weights: Tensor, state: State, ops: Ops) -> Tensor:
        """Returns the quantized weights, float32, with their pseudo-gradient."""

    @abc.abstractmethod
    def scales(self, weights: Tensor, state: State, ops: Ops) -> Tensor:
        """Returns the positive numbers that are kept beside the codes, float32 of any shape."""

    def updated(self, weights: Tensor, state: State, ops: Ops) -> dict[str, Tensor]:
        """Returns what a training step assigns to the state before the weights are quantized.

        Args:
            weights: The weights, without a gradient.
            state: The state as it was.
            ops: The functions to compute with.
        """
        del weights, state, ops
        return {}

    def restored(self, weights: Tensor, state: State, ops: Ops) -> Tensor:
        """Returns the weights with those that rest where they were when they began to."""
        del state, ops
        return weights

    def with_bits(self, bits: int) -> "WeightQuantizer":
        """Returns the same quantizer with another width.

        Raises:
            ValueError: If it has no such width.
        """
        return dataclasses.replace(self, bits=bits)  # type: ignore[type-var]

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor, as JSON takes them."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WeightQuantizer":
        """Returns the quantizer of a config."""
        return cls(**config)

    def _axes(self, weights: np.ndarray, channel_axes: Sequence[int]) -> tuple[int, ...] | None:
        if self.granularity == "tensor":
            return None
        return tuple(axis % weights.ndim for axis in channel_axes)


def require_choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    """Requires a setting to be one of a few words.

    Raises:
        ValueError: If it is not.
    """
    if value not in allowed:
        raise ValueError(
            f"`{name}` must be one of {', '.join(allowed)}. Received: {name}={value!r}."
        )
