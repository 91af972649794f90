"""`quantize.layer_bits`: rules for layers that differ."""

import re
from typing import Any

from tfqkd.recipe.quantize import Quantize
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
