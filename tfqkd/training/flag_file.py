"""A recipe as a flag file of `bin/train`."""

from typing import Any

from tfqkd.training.recipe import Recipe


def flag_file(recipe: Recipe) -> str:
    """Returns the lines of a flag file that gives a recipe: the settings that are not at their default."""
    return "".join(
        f"--{name}={_text(getattr(recipe, name))}\n"
        for name, setting in Recipe.settings().items()
        if getattr(recipe, name) != setting.default
    )


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
