"""Flags from the settings of a `Recipe`, and back."""

from collections.abc import Mapping, Sequence

from absl import flags

from tfqkd.cli.command import Command, UsageError
from tfqkd.recipe import described
from tfqkd.recipe.methods import method_of, settings_of_method
from tfqkd.recipe.recipe import Recipe
from tfqkd.recipe.renamed import now
from tfqkd.recipe.setting_names import SHORT, Setting


def define_recipe_flags(command: Command) -> None:
    """Defines a flag for each setting, and describes them by group.

    Those of a method are defined when a command line names one of them.
    """
    command.renamed = now
    command.prepare = lambda arguments: _define_named(command, arguments)
    _define(command, Recipe.settings())
    for short, name in SHORT.items():
        flags.DEFINE_alias(short, name, command.flags)
    for group, entries in described.entries().items():
        for entry in entries:
            short = f", --{entry.short}" if entry.short else ""
            default = f" [{entry.default}]" if entry.default else ""
            title = f"--{entry.name}={entry.value}{short}"
            command.describe(f"{group}: {described.about(group)}", title, entry.help + default)


def recipe_from_flags(command: Command) -> Recipe:
    """Returns the recipe that the parsed flags give.

    Raises:
        UsageError: If a value breaks a rule of the recipe.
    """
    given = {name: command.flags[name] for name in command.flags if "." in name}
    try:
        return Recipe(
            {
                name: Recipe.setting(name).read(flag.value)
                for name, flag in given.items()
                if flag.present
            }
        )
    except ValueError as error:
        raise UsageError(str(error)) from error


def _define(command: Command, settings: Mapping[str, Setting]) -> None:
    for name, setting in settings.items():
        # Text, until the recipe reads it.
        parser: flags.ArgumentParser[str] = flags.ArgumentParser()
        flag = flags.Flag(parser, None, name, None, "", boolean=setting.kind is bool)
        flags.DEFINE_flag(flag, command.flags)


def _define_named(command: Command, arguments: Sequence[str]) -> None:
    names = [argument.lstrip("-").partition("=")[0] for argument in arguments]
    named = {method_of(name) or method_of(name.removeprefix("no")) for name in names}
    for method in sorted(named - {""}):
        _define(command, settings_of_method(method))
