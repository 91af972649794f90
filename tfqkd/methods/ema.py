"""Weight averaging: an exponential moving average of the weights replaces them at the end."""

import dataclasses
from typing import ClassVar

from tfqkd.fronts.settings import Fitting
from tfqkd.fronts.view import View
from tfqkd.methods.method import Method


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ema(Method):
    """`average ← momentum·average + (1 - momentum)·weight` at every step, over all trained weights.

    Steps that follow the weights are taken again from the average; statistics of batch norm belong to the
    training's weights, so measure them again too.

    Attributes:
        momentum: Momentum of the average, within (0, 1); 0.99 averages about the last 100 steps.
    """

    name: ClassVar[str] = "ema"
    needs: ClassVar[frozenset[str]] = frozenset({"average"})
    excludes: ClassVar[frozenset[str]] = frozenset({"sqwa"})

    momentum: float = 0.99

    def __post_init__(self) -> None:
        if not 0 < self.momentum < 1:
            raise ValueError(
                f"`ema.momentum` must be within (0, 1). Received: ema.momentum={self.momentum}. "
                "0.99 averages about the last 100 steps."
            )

    def fitting(self, fitting: Fitting) -> Fitting:
        """Lets the optimizer keep the average, which it puts in the place of the weights at the end."""
        return dataclasses.replace(fitting, ema=self.momentum)

    def finish(self, view: View) -> None:
        """Steps that follow the weights have followed those of training, not their average."""
        view.requantize()
