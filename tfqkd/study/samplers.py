"""Samplers and pruners of Optuna, as a plan asks for them."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, cast

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from tfqkd.study import attributes
from tfqkd.study.plan import Plan

_MAX_SEED = 2**31


class SeededByTrial(BaseSampler):
    """Draws the settings of a trial from a seed of its own.

    Workers that shared one seed would all draw the same settings; here what is drawn for a trial depends on
    its number and on the trials before it, and not on the worker. Controls teach a sampler nothing: their
    accuracies belong to no settings that it could draw.

    Args:
        make: Makes the sampler for a seed.
        seed: Of the study.
    """

    def __init__(self, make: Callable[[int], BaseSampler], seed: int) -> None:
        self._make, self._seed = make, seed
        self._sampler = make(seed)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Makes the sampler of the trial."""
        self._sampler = self._make((self._seed + trial.number) % _MAX_SEED)
        self._sampler.before_trial(_without_controls(study), trial)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """As the trial's sampler does."""
        return self._sampler.infer_relative_search_space(_without_controls(study), trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As the trial's sampler does."""
        return self._sampler.sample_relative(_without_controls(study), trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """As the trial's sampler does."""
        return self._sampler.sample_independent(
            _without_controls(study), trial, param_name, param_distribution
        )

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """As the trial's sampler does."""
        self._sampler.after_trial(_without_controls(study), trial, state, values)


class _WithoutControls:
    """A study that shows only the trials whose settings a sampler drew or could have drawn."""

    def __init__(self, study: optuna.Study) -> None:
        self._study = study

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def get_trials(self, *args: Any, **kwargs: Any) -> list[FrozenTrial]:
        return _drawn(self._study.get_trials(*args, **kwargs))

    def _get_trials(self, *args: Any, **kwargs: Any) -> list[FrozenTrial]:
        # By this one Optuna's own samplers look.
        return _drawn(self._study._get_trials(*args, **kwargs))


def _without_controls(study: optuna.Study) -> optuna.Study:
    return cast("optuna.Study", _WithoutControls(study))


def _drawn(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    # A trial that is not of the queue was made by Optuna and ended without settings.
    return [
        trial
        for trial in trials
        if attributes.QUEUED in trial.user_attrs and attributes.CONTROL not in trial.user_attrs
    ]


def make_sampler(plan: Plan) -> BaseSampler:
    """Returns the sampler of a plan; that of a grid draws nothing, since the queue holds all settings."""
    return SeededByTrial(_tpe if plan.sampler == "tpe" else RandomSampler, plan.recipe.seed)


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
