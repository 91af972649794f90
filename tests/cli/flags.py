"""A recipe as the flags that give it."""

from tfqkd.training.recipe import Recipe


def of_recipe(recipe: Recipe) -> list[str]:
    def text(value):
        return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)

    return [f"--{name}={text(getattr(recipe, name))}" for name in Recipe.settings()]
