"""Settings of quantization: how many bits, of what, by which quantizer."""

import dataclasses
from typing import Literal

from tfqkd.recipe.setting import FLOAT_BITS, WIDTH, setting

WEIGHT_QUANTIZERS = ("uniform", "twn", "absmean", "ttq", "lsq", "dorefa")
TERNARY_QUANTIZERS = ("twn", "absmean", "ttq")
ACTIVATION_QUANTIZERS = ("lsq", "pact")
DEPTHWISE_BITS = 8
"""Of depthwise layers without a rule of their own (docs/concepts/quantizers.md)."""
_THREE_LEVELS = ("uniform", *TERNARY_QUANTIZERS)
"""Quantizers whose 2 bits hold -Δ, 0 and Δ; those of the others hold four levels."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quantize:
    """What the quantized student's weights, activations and gradients are rounded to."""

    bits: int = setting(
        2,
        "Width of a quantized weight, 2 (ternary; four levels with lsq and dorefa) to 8; 32 trains the float "
        "student on for the same epochs, as a control.",
        rule=WIDTH,
    )
    quantizer: str = setting(
        "uniform",
        "Weight quantizer: uniform (L2-optimal step, the paper's), twn, absmean (BitNet's), ttq (these three "
        "ternary), lsq (learned step) or dorefa.",
        choices=WEIGHT_QUANTIZERS,
    )
    granularity: Literal["tensor", "channel"] = setting(
        "tensor",
        "One quantization step for each tensor or each output channel; channel for uniform and lsq only.",
        choices=("tensor", "channel"),
    )
    step_update: Literal["once", "every_step"] = setting(
        "once",
        "Take uniform's L2-optimal step once from the float student, or again at every training step.",
        choices=("once", "every_step"),
    )
    activation_bits: int = setting(
        FLOAT_BITS,
        "Width of the activations that quantized layers read, 2 to 8; 32 for float.",
        rule=WIDTH,
    )
    activation_quantizer: str = setting(
        "lsq",
        "Activation quantizer: lsq (learned step) or pact (learned clipping value).",
        choices=ACTIVATION_QUANTIZERS,
    )
    gradient_bits: int = setting(
        FLOAT_BITS,
        "Width to which dorefa rounds the gradients of its layers' outputs stochastically, 2 to 8; 32 for "
        "float.",
        rule=WIDTH,
    )
    deploy: bool = setting(
        False,
        "Train for files of integers, litert-w2a8 and its kind: activations of 8 bits wherever such a file "
        "rounds, with trained steps, and 8-bit weights in the first and the last layer.",
    )
    layer_bits: tuple[str, ...] = setting(
        (),
        "Layers that differ, as REGEX=BITS, REGEX=BITS/ACTIVATION_BITS or REGEX=float, separated by commas; "
        "either BITS may be float; the first match counts. The first and the last layer are float, and "
        f"depthwise ones have {DEPTHWISE_BITS} bits (2 with twn, absmean and ttq), unless named here.",
    )

    @property
    def is_float(self) -> bool:
        """Whether weights are not quantized: the control."""
        return self.bits == FLOAT_BITS

    @property
    def kind(self) -> str:
        """What the weights are: "ternary", "float", "4-bit", or "2-bit" of four levels."""
        if self.is_float:
            return "float"
        ternary = self.bits == 2 and self.quantizer in _THREE_LEVELS
        return "ternary" if ternary else f"{self.bits}-bit"
