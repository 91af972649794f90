"""How a recipe fits, without its data."""

import dataclasses
import types

from tfqkd.fronts.settings import Fitting
from tfqkd.training.plans import fitting_of
from tfqkd.training.recipe import Recipe
from tfqkd.training.settings import STUDENT


def fitting(
    recipe: Recipe, learning_rate: float, epochs: int, steps: int, ema: float = 0.0
) -> Fitting:
    data = types.SimpleNamespace(train=range(recipe.batch_size))
    changes = {"learning_rate": learning_rate, "epochs": epochs, "steps": steps, "ema": ema}
    return dataclasses.replace(fitting_of(recipe, STUDENT, data), **changes)
