"""Gradients rounded stochastically, as DoReFa-Net does."""

import dataclasses
from typing import ClassVar

from tfqkd.core.quantizers import DorefaQuantizer
from tfqkd.fronts.settings import Quantization
from tfqkd.methods.method import Method


@dataclasses.dataclass(frozen=True, kw_only=True)
class GradientRounding(Method):
    """Rounds the gradients of the quantized layers' outputs (`tfqkd.core.dorefa.rounded_gradient`).

    Attributes:
        bits: 2 to 8.
    """

    name: ClassVar[str] = "gradient_rounding"
    needs: ClassVar[frozenset[str]] = frozenset({"rounding"})

    bits: int = 8

    def quantization(self, quantization: Quantization) -> Quantization:
        """Gives the bits to the quantizer, which must be DoReFa's."""
        scheme = quantization.scheme
        if not isinstance(scheme.quantizer, DorefaQuantizer):
            raise ValueError(
                "Gradients are rounded with the quantizer dorefa alone. "
                f"Received: {type(scheme.quantizer).__name__}. Take quantizer=dorefa, or leave it out."
            )
        quantizer = dataclasses.replace(scheme.quantizer, gradient_bits=self.bits)
        return dataclasses.replace(quantization, scheme=scheme.with_quantizer(quantizer))
