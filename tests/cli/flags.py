"""A recipe as the flags that give it."""

from tfqkd.recipe.recipe import Recipe
from tfqkd.recipe.setting_names import value_of
from tfqkd.recipe.values import to_text


def of_recipe(recipe: Recipe) -> list[str]:
    """All settings that are not inherited."""
    given = {setting.label: value_of(recipe, name) for name, setting in recipe.settings().items()}
    return [f"--{name}={to_text(value)}" for name, value in given.items() if value is not None]
