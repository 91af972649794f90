"""Flags from the settings of a `Recipe`, and back."""

from absl import flags

from tfqkd.cli.command import Command, UsageError
from tfqkd.recipe import described
from tfqkd.recipe.names import SHORT
from tfqkd.recipe.recipe import Recipe
from tfqkd.recipe.renamed import now


def define_recipe_flags(command: Command) -> None:
    """Defines a flag for each setting, and describes them by group."""
    command.renamed = now
    for name, setting in Recipe.settings().items():
        # Text, until the recipe reads it.
        parser: flags.ArgumentParser[str] = flags.ArgumentParser()
        flag = flags.Flag(parser, None, name, None, "", boolean=setting.kind is bool)
        flags.DEFINE_flag(flag, command.flags)
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
    given = {name: command.flags[name] for name in Recipe.settings()}
    try:
        return Recipe(
            {
                name: Recipe.settings()[name].read(flag.value)
                for name, flag in given.items()
                if flag.present
            }
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
