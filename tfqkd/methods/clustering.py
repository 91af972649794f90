"""Clustering: the weights of each kernel share a few values, for files that compress (arXiv 1510.00149)."""

import dataclasses
from typing import ClassVar

from tfqkd.core.clustered import ClusteredQuantizer
from tfqkd.core.composite import FLOAT_WIDTH
from tfqkd.core.pruned import PrunedQuantizer
from tfqkd.core.quantizer import WeightQuantizer
from tfqkd.fronts.settings import Quantization
from tfqkd.methods.method import Method

_BITS = (8, FLOAT_WIDTH)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clustering(Method):
    """Puts the weights of each kernel at k values: see `tfqkd.core.clustered.ClusteredQuantizer`.

    For float weights and for 8 bits: with fewer, a quantizer's codes are such values already, on a grid that
    files hold by codes. No file stores indices into a table: what is gained shows after compression.

    Attributes:
        clusters: k, 2 to 64; one of the values is zero.
    """

    name: ClassVar[str] = "clustering"
    excludes: ClassVar[frozenset[str]] = frozenset({"gradual"})

    clusters: int = 16

    def __post_init__(self) -> None:
        if not 2 <= self.clusters <= 64:
            raise ValueError(
                f"`clustering.clusters` must be 2 to 64. Received: clustering.clusters={self.clusters}."
            )

    def quantization(self, quantization: Quantization) -> Quantization:
        """Puts the clusters around the scheme's quantizer, within a mask.

        Raises:
            ValueError: If the weights have other than 8 or 32 bits.
        """
        scheme = quantization.scheme
        if scheme.quantizer.bits not in _BITS:
            raise ValueError(
                "Clusters are for float weights and for those of 8 bits. "
                f"Received: {scheme.quantizer.bits} bits. Set --bits=8 or --bits=32."
            )
        return dataclasses.replace(
            quantization, scheme=scheme.with_quantizer(self._around(scheme.quantizer))
        )

    def _around(self, quantizer: WeightQuantizer) -> WeightQuantizer:
        if isinstance(quantizer, PrunedQuantizer):
            return dataclasses.replace(quantizer, quantizer=self._around(quantizer.quantizer))
        return ClusteredQuantizer(quantizer, self.clusters)
