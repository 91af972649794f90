"""Quantizers around others: what they share, and the one that leaves weights float."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfqkd.core.ops import Ops, Tensor
from tfqkd.core.quantizer import Granularity, State, WeightQuantizer
from tfqkd.core.quantizers import QUANTIZERS

FLOAT_WIDTH = 32


@dataclasses.dataclass(frozen=True)
class FloatQuantizer(WeightQuantizer):
    """Leaves weights as they are: for what is put around it, such as a mask on float weights."""

    bits = FLOAT_WIDTH

    def initial_state(
        self, weights: Any, channel_axes: Sequence[int] = (-1,)
    ) -> dict[str, np.ndarray]:
        """Returns nothing."""
        return {}

    def quantize(self, weights: Tensor, state: State, ops: Ops) -> Tensor:
        """Returns the weights."""
        return weights

    def scales(self, weights: Tensor, state: State, ops: Ops) -> Tensor:
        """Returns 1."""
        return ops.convert_to_tensor(1.0, "float32")

    def with_bits(self, bits: int) -> "FloatQuantizer":
        """Returns itself: a float model has no other widths."""
        return self


@dataclasses.dataclass(frozen=True)
class AroundQuantizer(WeightQuantizer):
    """A quantizer that changes the weights before another one quantizes them.

    Its state holds that of the other under the same names, and its own.

    Args:
        quantizer: The other one.
    """

    quantizer: WeightQuantizer

    @property
    def bits(self) -> int:  # type: ignore[override]
        """Those of the other."""
        return self.quantizer.bits

    @property
    def granularity(self) -> Granularity:  # type: ignore[override]
        """That of the other."""
        return self.quantizer.granularity

    @property
    def gradient_bits(self) -> int | None:  # type: ignore[override]
        """Those of the other."""
        return self.quantizer.gradient_bits

    @property
    def rests(self) -> bool:  # type: ignore[override]
        """Whether weights of the other rest."""
        return self.quantizer.rests

    @property
    def innermost(self) -> WeightQuantizer:
        """The one that is around no other."""
        return self.quantizer.innermost

    @property
    def learned(self) -> tuple[str, ...]:
        """What the other learns."""
        return self.quantizer.learned

    @property
    def followed(self) -> tuple[str, ...]:
        """What follows the weights in the other."""
        return self.quantizer.followed

    def with_bits(self, bits: int) -> WeightQuantizer:
        """Returns the same around the other with another width."""
        return dataclasses.replace(self, quantizer=self.quantizer.with_bits(bits))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor, as JSON takes them."""
        return {
            **super().get_config(),
            "quantizer": type(self.quantizer).__name__,
            "settings": self.quantizer.get_config(),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> WeightQuantizer:
        """Returns the quantizer of a config."""
        own = {name: value for name, value in config.items() if name != "settings"}
        kinds = {**QUANTIZERS, **AROUND}
        return cls(**{**own, "quantizer": kinds[own["quantizer"]].from_config(config["settings"])})


AROUND: dict[str, type[WeightQuantizer]] = {FloatQuantizer.__name__: FloatQuantizer}
"""Those beside `QUANTIZERS` by name, as files name them; each of this kind adds itself."""
