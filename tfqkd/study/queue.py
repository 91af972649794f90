"""The queue of a study: all trials are in the storage from the start; no two workers take the same."""

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tfqkd.study import attributes
from tfqkd.study.plan import Plan
from tfqkd.study.space import Axis, Listed

if TYPE_CHECKING:
    import optuna

    from tfqkd.study.local import LocalTrial

_QUEUED = {attributes.QUEUED: True}


def fill(study: "optuna.Study", plan: Plan) -> None:
    """Puts all trials of a plan into the queue."""
    for parameters, user_attrs in planned(plan):
        study.enqueue_trial(parameters, user_attrs=user_attrs)


def planned(plan: Plan) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Returns settings and attributes of all trials: controls first, then the settings in a random order.

    A drawn trial has no settings; the sampler draws them when a worker takes it.
    """
    controls: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({}, {**_QUEUED, attributes.CONTROL: settings}) for settings in plan.controls()
    ]
    drawn: list[dict[str, Any]] = [{}] * plan.trials
    if plan.sampler == "grid":  # Draws none.
        fields = [axis.field for axis in plan.space.axes]
        for settings in plan.grid():
            drawn.append({field: to_parameter(settings[field]) for field in fields})
        # The trials of a study that is stopped early are then a fair sample of the whole.
        random.Random(plan.recipe.run.seed).shuffle(drawn)
    return [*controls, *((parameters, dict(_QUEUED)) for parameters in drawn)]


def settings_of(trial: "optuna.Trial | LocalTrial", plan: Plan) -> dict[str, Any]:
    """Returns the settings of a trial: the queue's, or else the sampler's."""
    control = trial.user_attrs.get(attributes.CONTROL)
    if control is not None:
        # The storage keeps tuples as lists.
        return {name: tuple(v) if isinstance(v, list) else v for name, v in control.items()}
    return {axis.field: _suggest(trial, axis) for axis in plan.space.axes}


def to_parameter(value: Any) -> Any:
    """Returns a value as Optuna keeps it: a tuple becomes text."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else value


def describe(number: int, settings: Mapping[str, Any], control: bool) -> str:
    """Returns a trial as it is named to a reader: "trial 7 temperature=2"."""
    values = [f"{name}={shown(value)}" for name, value in settings.items()]
    return " ".join(["control" if control else "trial", str(number), *values])


def shown(value: Any) -> str:
    """Returns a value as it is shown to a reader: four digits of a drawn number are enough."""
    return f"{value:.4g}" if isinstance(value, float) else str(to_parameter(value))


def _suggest(trial: Any, axis: Axis) -> Any:
    if isinstance(axis, Listed):
        values = {to_parameter(value): value for value in axis.values}
        return values[trial.suggest_categorical(axis.field, list(values))]
    if isinstance(axis.low, int):
        return trial.suggest_int(axis.field, axis.low, int(axis.high), log=axis.log)
    return trial.suggest_float(axis.field, axis.low, axis.high, log=axis.log)
