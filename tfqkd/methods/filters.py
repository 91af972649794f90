"""Filters: the weakest of each convolution are taken out before a stage trains (arXiv 1608.08710)."""

import dataclasses
from typing import ClassVar, Literal

from tfqkd.fronts.front import Front, Model
from tfqkd.methods.method import Method


@dataclasses.dataclass(frozen=True, kw_only=True)
class Filters(Method):
    """Begins the stage from a narrower network: the float student without its weakest filters.

    They go where one layer alone reads them, channel by channel: from plain chains, and inside residual
    blocks (`tfqkd.fronts.tfmot.filters`). Unlike single zeros this saves work and bytes in every format. The
    stage then trains the rest, taught or not.

    Attributes:
        share: Share of each convolution's filters that goes, in [0, 1).
        norm: What a filter's strength is: the l1 norm of its weights, as published, or l2.
    """

    name: ClassVar[str] = "filters"
    needs: ClassVar[frozenset[str]] = frozenset({"filters"})

    share: float = 0.25
    norm: Literal["l1", "l2"] = "l1"

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ValueError(
                f"`filters.share` must be in [0, 1). Received: filters.share={self.share}."
            )
        if self.norm not in ("l1", "l2"):
            raise ValueError(
                f"`filters.norm` must be l1 or l2. Received: filters.norm={self.norm!r}."
            )

    def model(self, front: Front, model: Model) -> Model:
        """Takes them out.

        Raises:
            ValueError: If the network has none that can go.
        """
        return front.without_filters(model, self.share, self.norm)
