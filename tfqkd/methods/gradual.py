"""Gradual quantization: from more bits to fewer, or on a share of the weights that grows."""

import dataclasses
from typing import ClassVar

from tfqkd.core.gradual import GradualQuantizer
from tfqkd.fronts.settings import Quantization
from tfqkd.methods.method import Method


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gradual(Method):
    """Reaches the quantizer gently: see `tfqkd.core.gradual.GradualQuantizer`.

    Attributes:
        bits: Widths before the quantizer's own, falling; all share the epochs evenly.
        share: Shares of each layer's weights, the largest first, that are quantized before all are, rising
            within (0, 1) (arXiv 1702.03044); with the 1 that ends them they share the epochs evenly.
    """

    name: ClassVar[str] = "gradual"
    needs: ClassVar[frozenset[str]] = frozenset({"gradual"})
    excludes: ClassVar[frozenset[str]] = frozenset({"sqwa"})

    bits: tuple[int, ...] = ()
    share: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not (self.bits or self.share):
            raise ValueError(
                "`gradual` must name widths or shares. Received: none. "
                "For example gradual.bits=8,4 or gradual.share=0.5,0.75."
            )

    def quantization(self, quantization: Quantization) -> Quantization:
        """Puts the gradual quantizer around the scheme's own."""
        scheme = quantization.scheme
        quantizer = GradualQuantizer(scheme.quantizer, self.bits, by_share=bool(self.share))
        return dataclasses.replace(
            quantization,
            scheme=scheme.with_quantizer(quantizer),
            gradual_shares=self.share,
        )
