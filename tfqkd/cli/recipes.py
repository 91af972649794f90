"""Flags from the fields of a `Recipe`, and back."""

import dataclasses
from typing import Any

from absl import flags

from tfqkd.cli.command import Command, UsageError
from tfqkd.training.recipe import Recipe


def define_recipe_flags(command: Command) -> None:
    """Defines a flag for each setting, under its group."""
    for name, setting in Recipe.settings().items():
        _define(command.flags, name, setting)
        command.group(setting.metadata["group"], name)


def recipe_from_flags(command: Command) -> Recipe:
    """Returns the recipe that the parsed flags give.

    Raises:
        UsageError: If a value breaks a rule of the recipe.
    """
    try:
        return Recipe(
            **{
                name: _value(name, command.flags[name].value, setting.default)
                for name, setting in Recipe.settings().items()
            }
        )
    except ValueError as error:
        raise UsageError(str(error)) from error


def _define(values: flags.FlagValues, name: str, setting: dataclasses.Field) -> None:
    default, text = setting.default, setting.metadata["help"]
    choices = setting.metadata["choices"]
    if choices:
        flags.DEFINE_enum(name, default, choices, text, flag_values=values)
    elif setting.type == int | str:
        flags.DEFINE_string(name, str(default), text, flag_values=values)
    elif isinstance(default, bool):
        flags.DEFINE_bool(name, default, text, flag_values=values)
    elif isinstance(default, int):
        flags.DEFINE_integer(name, default, text, flag_values=values)
    elif isinstance(default, float):
        flags.DEFINE_float(name, default, text, flag_values=values)
    elif isinstance(default, tuple):
        flags.DEFINE_list(name, [str(item) for item in default], text, flag_values=values)
    else:
        flags.DEFINE_string(name, default, text, flag_values=values)


def _value(name: str, value: Any, default: object) -> Any:
    if not (isinstance(default, tuple) and default and isinstance(default[0], float)):
        return value
    try:
        return tuple(float(item) for item in value)
    except ValueError as error:
        raise ValueError(
            f"`{name}` must hold numbers, separated by commas. Received: {name}={','.join(value)}."
        ) from error
