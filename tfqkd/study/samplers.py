"""Samplers and pruners of Optuna, as a plan asks for them."""

import warnings
from collections.abc import Callable
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.search_space import intersection_search_space
from optuna.trial import FrozenTrial, TrialState

from tfqkd.study import attributes
from tfqkd.study.plan import Plan

_MAX_SEED = 2**31
_ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


class SeededByTrial(BaseSampler):
    """Draws the settings of a trial from a seed of its own.

    Workers that shared one seed would all draw the same settings; here what is drawn for a trial depends on
    its number and on the trials before it, and not on the worker. Controls teach a sampler nothing: their
    accuracies belong to no settings that it could draw.

    Args:
        make: Makes the sampler for a seed.
        seed: Of the study.
    """

    _drawn: optuna.Study

    def __init__(self, make: Callable[[int], BaseSampler], seed: int) -> None:
        self._make, self._seed = make, seed

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Makes the sampler of the trial, for a study in memory of what it learns from."""
        sampler = self._make((self._seed + trial.number) % _MAX_SEED)
        self._drawn = optuna.create_study(direction="maximize", sampler=sampler)
        # A trial that is not of the queue was made by Optuna and ended without settings.
        self._drawn.add_trials(
            other
            for other in study.get_trials(deepcopy=False, states=_ENDED)
            if attributes.QUEUED in other.user_attrs and attributes.CONTROL not in other.user_attrs
        )

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Returns all fields that were drawn before: they are drawn together."""
        return intersection_search_space(self._drawn.trials, include_pruned=True)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As the trial's sampler does."""
        return self._drawn.ask(search_space).params

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """As the trial's sampler does."""
        return self._drawn.ask({param_name: param_distribution}).params[param_name]


def make_sampler(plan: Plan) -> BaseSampler:
    """Returns the sampler of a plan; that of a grid draws nothing, since the queue holds all settings."""
    return SeededByTrial(_tpe if plan.sampler == "tpe" else RandomSampler, plan.recipe.run.seed)


def make_pruner(plan: Plan) -> optuna.pruners.BasePruner:
    """Returns the pruner of a plan."""
    if plan.pruner == "none":
        return optuna.pruners.NopPruner()
    _, most = plan.epochs
    return optuna.pruners.HyperbandPruner(max_resource=most)


def _tpe(seed: int) -> BaseSampler:
    with warnings.catch_warnings():
        # Its multivariate mode, which sees how settings interact, is called experimental.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return TPESampler(seed=seed, multivariate=True)
