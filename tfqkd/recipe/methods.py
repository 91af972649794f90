"""Settings of the methods of the quantized stage: the fields of their classes, looked up by name.

A method is imported when it is asked for.
"""

import dataclasses
import functools
import inspect
import re
import typing
from collections.abc import Mapping
from typing import Any

from tfqkd.methods import NAMES, find
from tfqkd.recipe.setting_names import Setting

# Those that have settings elsewhere: `training.batch_norm` and `quantize.gradient_bits`.
METHODS = tuple(name for name in NAMES if name not in ("batch_norm", "gradient_rounding"))


@functools.cache
def settings_of_method(name: str) -> Mapping[str, Setting]:
    """Returns the settings of a method by their names: `quantized.ema.momentum`."""
    kind: Any = find(name)
    found = {}
    for field in dataclasses.fields(kind):
        choices = (
            typing.get_args(field.type) if typing.get_origin(field.type) is typing.Literal else ()
        )
        metadata = {
            "help": _help(kind, field.name),
            "rule": None,
            "choices": choices,
            "form": None,
            "changes_result": True,
        }
        whole = f"quantized.{name}.{field.name}"
        found[whole] = Setting(whole, "", field.default, str if choices else field.type, metadata)
    return found


def method_of(setting: str) -> str:
    """Returns the method that a setting belongs to by its name; "" for any other."""
    group, _, rest = setting.partition(".")
    name, dot, _ = rest.partition(".")
    return name if group == "quantized" and dot and name in METHODS else ""


def made(name: str, values: Mapping[str, Any]) -> Any:
    """Returns a method with settings, named in whole.

    Raises:
        ValueError: If they break a rule of the method.
    """
    start = f"quantized.{name}."
    try:
        return find(name)(**{each.removeprefix(start): value for each, value in values.items()})
    except ValueError as error:
        text = re.sub(rf"(?<![\w.]){name}(?=\.|`)", f"quantized.{name}", str(error))
        raise ValueError(text) from error


def _help(kind: type, field: str) -> str:
    """What the docstring says of a field."""
    text = inspect.cleandoc(str(kind.__doc__)).partition("Attributes:")[2]
    said = re.search(rf"^    {field}: (.*(?:\n {{8}}.*)*)", text, re.MULTILINE)
    return " ".join(said[1].split()) if said else ""
