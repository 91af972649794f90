"""A study that was tried on a formula in the place of trainings."""

import math
import pathlib
from collections.abc import Callable
from typing import Any

import optuna
import pytest

from tfqkd.recipe.recipe import Recipe
from tfqkd.study import attributes
from tfqkd.study.database import join, open_storage, sqlite_url
from tfqkd.study.plan import Plan
from tfqkd.study.queue import settings_of
from tfqkd.study.results import StudyResults
from tfqkd.study.samplers import make_pruner, make_sampler
from tfqkd.study.space import parse_space

GRID = (
    "temperature=1,2,8",
    "coefficient=0.3,0.7",
    "teacher=cnn4,cnn16",
    "schedule=constant,gradual",
)
EPOCHS = 3

_of_the_grid: list[StudyResults] = []


def plan(*vary: str, **changes: Any) -> Plan:
    recipe = Recipe(
        {"data.validation_split": 0.2, "quantized.training.epochs": EPOCHS},
        dataset="digits",
        student="cnn4",
        teacher="cnn8",
        coefficient=0.5,
    )
    values = {"sampler": "grid", "trials": 0, "repeats": 2, "pruner": "none", "recipe": recipe}
    return Plan(**{**values, "space": parse_space(vary or GRID), **changes})


def begin(directory: pathlib.Path, plan: Plan, name: str = "tried") -> optuna.Study:
    storage = open_storage(sqlite_url(directory / "study.db"), 60)
    return join(storage, name, plan, make_sampler(plan), make_pruner(plan))


def record(accuracy: float, teacher: str | None, temperature: float = 1.0) -> dict[str, Any]:
    """What a trial keeps of a seed."""
    return {
        "validation_accuracy": accuracy,
        "test_accuracy": accuracy - 0.01,
        "float_accuracy": 0.93,
        "teacher_accuracy": teacher and 0.95,
        "teacher_parameters": teacher and 1000 * int(teacher.removeprefix("cnn")),
        "teacher_entropy": teacher and math.log1p(temperature) / int(teacher.removeprefix("cnn")),
        "directory": "trials/x",
        "curves": {
            "epoch": list(range(1, EPOCHS + 1)),
            "loss": [3.0, 2.0, 1.0],
            "hard_loss": [1.5, 1.0, 1 - accuracy],
            "accuracy": [0.5, 0.6, 0.7],
            "val_accuracy": [0.4, 0.5, accuracy],
            "coefficient": [0.5, 0.25, 0.0],
        },
        "layers": [
            {"layer": "conv1", "bits": 32, "zeros": 0.0, "step": None},
            {"layer": "conv2", "bits": 2, "zeros": 0.4, "step": 0.2},
            {"layer": "conv3", "bits": 2, "zeros": 0.5, "step": 0.1},
        ],
    }


def objective(
    plan: Plan, formula: Callable[[dict[str, Any], bool, int], float]
) -> Callable[[optuna.Trial], float]:
    """An objective that keeps what a training would: the formula takes settings, control and seed."""

    def run(trial: optuna.Trial) -> float:
        settings = settings_of(trial, plan)
        control = attributes.CONTROL in trial.user_attrs
        trial.set_user_attr(attributes.SETTINGS, settings)
        accuracies = []
        for seed in plan.seeds:
            recipe = plan.trial_recipe(settings, control, seed)
            accuracies.append(formula(settings, control, seed))
            trial.set_user_attr(
                attributes.of_seed(seed),
                record(
                    accuracies[-1],
                    recipe.teacher.network if recipe.has_teacher else None,
                    recipe.distil.temperature,
                ),
            )
        return sum(accuracies) / len(accuracies)

    return run


def accuracy(settings: dict[str, Any], control: bool, seed: int) -> float:
    """A closed form: T = 2 is best, a fixed coefficient suffers twice as much, seeds differ by 0.01."""
    seeds = 0.01 * (seed - 0.5)
    if control:
        return 0.8 + seeds
    harm = abs(math.log2(settings.get("temperature", 2.0) / 2))
    slope = 0.02 if settings.get("schedule") == "constant" else 0.01
    size = 0.01 if settings.get("teacher") == "cnn16" else 0.0
    return 0.85 + size - slope * harm + seeds


def results(
    directory: pathlib.Path, plan: Plan, formula: Callable[..., float] = accuracy
) -> StudyResults:
    """The results of a finished study."""
    study = begin(directory, plan)
    study.optimize(objective(plan, formula), n_trials=len(study.trials))
    return StudyResults.read(study, plan)


def grid(factory: pytest.TempPathFactory) -> StudyResults:
    """The results of the whole grid, made once; tests must not change them."""
    if not _of_the_grid:
        _of_the_grid.append(results(factory.mktemp("tried"), plan()))
    return _of_the_grid[0]
