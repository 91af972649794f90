"""Settings of the stage that trains the quantized student."""

import dataclasses
from typing import Any

from tfqkd.recipe.methods import METHODS
from tfqkd.recipe.setting import setting
from tfqkd.recipe.training import QuantizedTraining


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Quantized:
    """How the quantized student trains: its training, its methods, and a group for each method."""

    training: Any = dataclasses.field(default=QuantizedTraining())
    methods: tuple[str, ...] = setting(
        (),
        f"Methods of the quantized stage, separated by commas: {', '.join(METHODS)}. Each has settings of "
        "its own, such as --quantized.ema.momentum.",
    )


Quantized: Any = dataclasses.make_dataclass(
    "Quantized",
    [(name, kind, kind()) for name, kind in METHODS.items()],
    bases=(_Quantized,),
    frozen=True,
    kw_only=True,
    namespace={"__module__": __name__, "__doc__": _Quantized.__doc__},
)
