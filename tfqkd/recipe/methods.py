"""Settings of the methods of the quantized stage: `METHODS` is where one is looked up by its name."""

import dataclasses

from tfqkd.recipe.setting import Rule, setting

_RISING = Rule(
    "shares that rise within 0 to 1, such as 0.5,0.75",
    lambda shares: all(a < b for a, b in zip((0, *shares), (*shares, 1), strict=True)),
)
_FALLING = Rule(
    "widths that fall from 8 at most, such as 8,4",
    lambda widths: all(a > b >= 2 for a, b in zip((9, *widths), widths, strict=False)),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ema:
    """Weight averaging: an exponential moving average of the weights replaces them at the end."""

    momentum: float = setting(
        0.99,
        "Momentum of an exponential moving average over all trained weights, above 0 and below 1, which "
        "replaces them at the end. --training.batch_norm=moving does not fit the averaged weights.",
        rule=Rule("above 0 and below 1", lambda value: 0 < value < 1),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gradual:
    """Gradual quantization: by falling widths, or by rising shares of the weights."""

    bits: tuple[int, ...] = setting(
        (),
        "Widths that the weights have before --bits, falling, separated by commas, such as 8,4. All share "
        "the epochs evenly.",
        rule=_FALLING,
    )
    share: tuple[float, ...] = setting(
        (),
        "Shares of each layer's weights, the largest first, that are quantized before all are, rising within "
        "0 to 1, separated by commas, such as 0.5,0.75. All share the epochs evenly.",
        rule=_RISING,
    )


METHODS = {"ema": Ema, "gradual": Gradual}
"""The settings of each method, by the name that `--quantized.methods` calls it by."""
