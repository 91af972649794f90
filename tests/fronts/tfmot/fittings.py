"""How a recipe fits, without its data."""

import dataclasses

from tfqkd.fronts.settings import Fitting
from tfqkd.recipe.recipe import Recipe
from tfqkd.training.plans import student_of


def fitting(
    recipe: Recipe, learning_rate: float, epochs: int, steps: int, ema: float = 0.0
) -> Fitting:
    training = student_of(recipe).training
    training = dataclasses.replace(training, learning_rate=learning_rate, epochs=epochs)
    parts = {"title": "", "steps": steps, "jit_compile": False, "steps_per_execution": 1}
    return Fitting(**vars(training), **parts, ema=ema)
