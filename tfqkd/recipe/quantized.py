"""Settings of the stage that trains the quantized student."""

import dataclasses
from typing import Any

from tfqkd.recipe.methods import METHODS
from tfqkd.recipe.setting import Rule, setting
from tfqkd.recipe.training import QuantizedTraining


def _are_methods(names: tuple[str, ...]) -> bool:
    return set(names) <= set(METHODS) and len(set(names)) == len(names)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quantized:
    """How the quantized student trains: its training, and its methods with their settings.

    The settings of a method are under its name: `quantized.ema.momentum`.

    Attributes:
        own: The methods with their settings, in the order of `methods`.
    """

    training: Any = dataclasses.field(default=QuantizedTraining())
    methods: tuple[str, ...] = setting(
        (),
        f"Methods of the quantized stage, separated by commas: {', '.join(METHODS)}. Each has settings of "
        "its own, such as --quantized.ema.momentum; docs/recipe.md lists them.",
        rule=Rule(f"names of methods, each once: {', '.join(METHODS)}", _are_methods),
    )
    own: tuple[Any, ...] = ()

    def __getattr__(self, name: str) -> Any:
        for method in self.__dict__.get("own", ()):
            if method.name == name:
                return method
        raise AttributeError(name)
