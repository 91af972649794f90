"""Workers that died: whoever sees it puts their trials back into the queue."""

import math
import time
import warnings
from typing import Any

import optuna
from optuna.trial import TrialState

from tfqkd.study.storage import BEATS_OF_GRACE


class Watch:
    """Takes trials from workers that gave no sign of life within their grace.

    A worker that dies between taking a trial and its first sign of life leaves none, and Optuna would wait
    for that trial for ever. A trial that outlasts the grace under this watch is therefore given one sign of
    life: to a worker that lives it changes nothing, and one that died at once is known by it.

    Args:
        study: To watch.
    """

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        self._since: dict[int, float] = {}

    def look(self) -> None:
        """Fails the trials of workers that died, and puts them back."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            optuna.storages.fail_stale_trials(self._study)
        now = time.monotonic()
        # Optuna's class of storages with signs of life is not public.
        storage: Any = self._study._storage
        grace = BEATS_OF_GRACE * storage.get_heartbeat_interval()
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            since = self._since.setdefault(trial.number, now)
            if now - since > grace:
                storage.record_heartbeat(trial._trial_id)
                self._since[trial.number] = math.inf
