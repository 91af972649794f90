"""How a recipe fits, without its data."""

import dataclasses

from tfqkd.fronts.settings import Fitting
from tfqkd.training.plans import student_of
from tfqkd.training.recipe import Recipe


def fitting(
    recipe: Recipe, learning_rate: float, epochs: int, steps: int, ema: float = 0.0
) -> Fitting:
    changes = {"learning_rate": learning_rate, "epochs": epochs, "ema": ema}
    training = dataclasses.replace(student_of(recipe).training, **changes)
    return Fitting(
        **vars(training), title="", steps=steps, jit_compile=False, steps_per_execution=1
    )
