"""A worker: takes trials from the queue of a study until none is left."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import optuna
from optuna.trial import FrozenTrial, TrialState

from tfqkd.study import attributes
from tfqkd.study.database import give_back, retry
from tfqkd.study.queue import describe
from tfqkd.study.watch import Watch

if TYPE_CHECKING:
    from tfqkd.study.status import StudyStatus

_SECONDS_BETWEEN_LOOKS = 2.0
_MOST_ERRORS_IN_A_ROW = 3


def work(
    study: optuna.Study,
    objective: Callable[[optuna.Trial], float],
    status: "StudyStatus",
    grace_seconds: float,
) -> int:
    """Runs trials until all of the study are done, by this worker or another.

    The worker waits for a trial of another worker, and takes it over if that worker dies. A trial that fails
    for a reason of its own, such as a loss that is not finite, is marked as failed, and the study continues;
    a worker that is interrupted, or that fails, gives its trial back. If a worker was suspended for longer
    than its grace, another one has its trial, and it continues with the next.

    Args:
        study: To work on.
        objective: Runs one trial.
        status: Shows the progress.
        grace_seconds: A worker that gives no sign of life for this long has died.

    Returns:
        The number of trials that this worker ended.

    Raises:
        ValueError: If three trials in a row failed.
    """
    ended, errors, waits = 0, 0, False
    watch = Watch(study, grace_seconds)
    while True:
        watch.look()
        trials = study.get_trials(deepcopy=False)
        if any(trial.state == TrialState.WAITING for trial in trials):
            trial = _run_one(study, objective)
            if attributes.QUEUED not in trial.user_attrs:
                continue
            status.end(_ending(trial))
            ended, waits = ended + 1, False
            errors = errors + 1 if attributes.ERROR in trial.user_attrs else 0
            if errors == _MOST_ERRORS_IN_A_ROW:
                raise ValueError(
                    f"Trials must not all fail. Received: {errors} failures in a row, the last one: "
                    f"{trial.user_attrs[attributes.ERROR]}"
                )
        elif any(trial.state == TrialState.RUNNING for trial in trials):
            if not waits:
                print("No trial is left to begin; waiting for those of other workers.", flush=True)
            waits = True
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        else:
            return ended


def _run_one(study: optuna.Study, objective: Callable[[optuna.Trial], float]) -> FrozenTrial:
    taken: list[int] = []
    raised: list[BaseException] = []

    def guarded(trial: optuna.Trial) -> float:
        taken.append(trial.number)
        if attributes.QUEUED not in trial.user_attrs:
            # Another worker took the last one between the look and the taking: Optuna made a new trial.
            raise optuna.TrialPruned
        try:
            return objective(trial)
        except BaseException as error:
            raised.append(error)
            if isinstance(error, ValueError):
                trial.set_user_attr(attributes.ERROR, str(error))
            raise

    try:
        study.optimize(guarded, n_trials=1, catch=(ValueError,))
    except BaseException as error:
        if not taken:
            raise
        trial = study.get_trials()[taken[0]]
        if trial.state != TrialState.FAIL:
            raise
        if error in raised:
            # Optuna has marked the trial as failed, in this worker's name.
            (give_back if isinstance(error, KeyboardInterrupt) else retry)(study, trial)
            raise
        # The trial was taken over: whoever did it has marked it as failed and put it back.
        if raised and not isinstance(raised[0], optuna.exceptions.OptunaError):
            raise raised[0] from None
    return study.get_trials(deepcopy=False)[taken[0]]


def _ending(trial: FrozenTrial) -> str:
    settings = trial.user_attrs.get(attributes.SETTINGS, {})
    name = describe(trial.number, settings, attributes.CONTROL in trial.user_attrs)
    if trial.state == TrialState.FAIL:
        error = trial.user_attrs.get(attributes.ERROR)
        return f"{name}: {f'failed: {error}' if error else 'taken over by another worker'}"
    outcome = (
        "given up" if trial.state == TrialState.PRUNED else f"{100 * (trial.value or 0.0):.2f} %"
    )
    return f"{name}: {outcome}"
