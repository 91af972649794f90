"""A recipe as a flag file of `bin/train`."""

from tfqkd.recipe.recipe import Recipe
from tfqkd.recipe.setting_names import value_of
from tfqkd.recipe.values import to_text


def flag_file(recipe: Recipe) -> str:
    """Returns the lines of a flag file that gives a recipe: the settings that are not at their default."""
    return "".join(
        f"--{setting.label}={to_text(value_of(recipe, name))}\n"
        for name, setting in recipe.settings(recipe.quantized.methods).items()
        if value_of(recipe, name) != setting.default
    )
