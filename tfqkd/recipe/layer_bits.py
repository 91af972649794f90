"""`quantize.layer_bits`: rules for layers that differ."""

import dataclasses
import re
from typing import Any

from tfqkd.models.names import parse
from tfqkd.recipe.models import is_saved
from tfqkd.recipe.quantize import DEPTHWISE_BITS, TERNARY_QUANTIZERS, Quantize
from tfqkd.recipe.setting import FLOAT_BITS

Policy = dict[Any, int | tuple[int | None, int | None] | None]


def bits_by_layer(quantize: Quantize) -> Policy:
    """Returns `layer_bits` as a policy for `quantize_model`.

    Raises:
        ValueError: If a rule is not REGEX=BITS, REGEX=BITS/ACTIVATION_BITS or REGEX=float.
    """
    policy: Policy = {}
    for rule in quantize.layer_bits:
        pattern, _, widths = rule.rpartition("=")
        bits = [_width(width) for width in widths.split("/")]
        if not pattern or not 1 <= len(bits) <= 2 or 0 in bits or not _is_regex(pattern):
            raise ValueError(
                "`quantize.layer_bits` must hold rules REGEX=BITS with 2 to 8 bits, "
                f"REGEX=BITS/ACTIVATION_BITS or REGEX=float. Received: {rule!r}. "
                "For example: 'stage3_.*=4,logits=8/8'."
            )
        if len(bits) == 2 and bits[1] and quantize.activation_bits == FLOAT_BITS:
            raise ValueError(
                "`quantize.layer_bits` may name activation bits only where activations are quantized. "
                f"Received: {rule!r} with quantize.activation_bits={FLOAT_BITS}. "
                "Set --quantize.activation_bits."
            )
        policy[pattern] = bits[0] if len(bits) == 1 else (bits[0], bits[1])
    return policy


@dataclasses.dataclass(frozen=True)
class LayersOfClass:
    """Selects layers, of any Keras, by how the name of their class or of one that it extends begins.

    Attributes:
        begins: The beginning.
    """

    begins: str

    def __call__(self, layer: Any) -> bool:
        """Whether it selects a layer."""
        return any(kind.__name__.startswith(self.begins) for kind in layer.__class__.__mro__)


def bits_of_depthwise_layers(quantize: Quantize, network: str) -> Policy:
    """Returns the rule for depthwise layers that no rule names; none where a network has no such layers."""
    if quantize.quantizer in TERNARY_QUANTIZERS:
        return {}
    if not is_saved(network) and parse(network).family not in _DEPTHWISE:
        return {}
    return {LayersOfClass("DepthwiseConv"): DEPTHWISE_BITS}


_DEPTHWISE = {
    *("mobilenetv2", "mobilenetv3_small", "mobilenetv3_large", "efficientnet_lite"),
    "applications",
}
"""Families of networks that have depthwise layers, or may have some."""


def _width(width: str) -> int | None:
    """The number of a width such as "4", None for "float", and 0 for anything else."""
    if width == "float":
        return None
    return int(width) if width in map(str, range(2, 9)) else 0


def _is_regex(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        return False
    return True
