"""Workers that died: whoever sees it puts their trials back into the queue."""

import contextlib
import time
import warnings

import optuna
from optuna.trial import TrialState

from tfqkd.study import attributes
from tfqkd.study.database import retry


class Watch:
    """Takes trials from workers that gave no sign of life within their grace.

    A worker that dies between taking a trial and its first sign of life leaves none, and Optuna would wait
    for that trial forever: a trial without settings, which are its first act, is taken after the grace too.

    Args:
        study: To watch.
        grace_seconds: As for `open_storage`.
    """

    def __init__(self, study: optuna.Study, grace_seconds: float) -> None:
        self._study, self._grace = study, grace_seconds
        self._since: dict[int, float] = {}

    def look(self) -> None:
        """Fails the trials of workers that died, and puts them back."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            optuna.storages.fail_stale_trials(self._study)
        now = time.monotonic()
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            since = self._since.setdefault(trial.number, now)
            if now - since > self._grace and attributes.SETTINGS not in trial.user_attrs:
                # Another worker may have been faster.
                with contextlib.suppress(ValueError, optuna.exceptions.UpdateFinishedTrialError):
                    self._study.tell(trial.number, state=TrialState.FAIL)
                    retry(self._study, trial)
