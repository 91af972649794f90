"""The status of a worker: which trial, which epoch, the best so far and the time left."""

import contextlib
import datetime
import sys
import time
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.status import Status
from rich.text import Text
from sqlalchemy.exc import SQLAlchemyError

from tfqkd.fronts.trainer import Watcher
from tfqkd.study import attributes
from tfqkd.study.queue import describe

_SECONDS_BETWEEN_SHOWS = 20.0
_SECONDS_BETWEEN_LOOKS = 5.0
_OPEN = (TrialState.WAITING, TrialState.RUNNING)
_DONE = (TrialState.COMPLETE, TrialState.PRUNED)


class StudyStatus:
    """Shows one line in a terminal; where the output is a file, a line a trial and one now and then."""

    def __init__(self) -> None:
        self._status = Status("", console=Console(file=sys.stdout)) if sys.stdout.isatty() else None
        self._name = self._state = self._stage = ""
        self._study: optuna.Study | None = None
        self._begun = self._looked = self._last_shown = time.monotonic()

    def begin(
        self, study: optuna.Study, number: int, settings: dict[str, Any], control: bool
    ) -> None:
        """Notes the trial, and asks the storage for the best one and the time that trials took."""
        self._study, self._name = study, describe(number, settings, control)
        self._begun = time.monotonic()
        self._look()
        self._show()

    def stage(
        self, title: str, epochs: int, steps_per_epoch: int, batch_size: int, first_epoch: int = 0
    ) -> "StageStatus":
        """Returns the watcher of a stage, as `run` asks for it."""
        return StageStatus(self, title, epochs)

    def epoch(self, text: str) -> None:
        """Shows how far a stage is, and now and then what the other workers have done."""
        self._stage = text
        if time.monotonic() - self._looked > _SECONDS_BETWEEN_LOOKS:
            # A trial does not end because its line could not be brought up to date.
            with contextlib.suppress(SQLAlchemyError, optuna.exceptions.StorageInternalError):
                self._look()
        self._show()

    def end(self, text: str) -> None:
        """Leaves a line that says how a trial ended."""
        self.close()
        print(text, flush=True)

    def close(self) -> None:
        """Takes the line away."""
        if self._status:
            self._status.stop()

    def _look(self) -> None:
        if self._study is None:
            return
        self._looked = time.monotonic()
        trials = self._study.get_trials(deepcopy=False)
        done = sum(trial.state in _DONE for trial in trials)
        count = f"{done}/{done + sum(trial.state in _OPEN for trial in trials)} done"
        self._state = f" ({count}){_best(trials)}{_time_left(trials, self._looked - self._begun)}"

    def _show(self) -> None:
        text = f"{self._name}{self._state}" + (f" | {self._stage}" if self._stage else "")
        if self._status:
            # Values may hold brackets, which are no markup.
            self._status.update(Text(text))
            self._status.start()
        elif time.monotonic() - self._last_shown > _SECONDS_BETWEEN_SHOWS:
            self._last_shown = time.monotonic()
            print(text, flush=True)


class StageStatus(Watcher):
    """Tells the worker's status the epoch of a stage.

    Args:
        status: Of the worker.
        title: What the stage trains.
        epochs: Of the stage.
    """

    def __init__(self, status: StudyStatus, title: str, epochs: int) -> None:
        self._status, self._title, self._epochs = status, title, epochs

    def on_epoch_begin(self, epoch: int) -> None:
        """Shows the epoch."""
        self._status.epoch(f"{self._title}, epoch {epoch + 1}/{self._epochs}")

    def close(self) -> None:
        """Forgets the stage."""
        self._status.epoch("")


def _best(trials: list[FrozenTrial]) -> str:
    done = [
        trial
        for trial in trials
        if trial.state == TrialState.COMPLETE and attributes.CONTROL not in trial.user_attrs
    ]
    if not done:
        return ""
    best = max(done, key=lambda trial: trial.value or 0.0)
    return f" | best {100 * (best.value or 0.0):.2f} % (trial {best.number})"


def _time_left(trials: list[FrozenTrial], spent: float) -> str:
    """Says how long all open trials take; each worker has spent as much on its own as this one."""
    times = [
        trial.duration.total_seconds()
        for trial in trials
        if trial.duration and trial.state == TrialState.COMPLETE
    ]
    if not times:
        return ""
    waiting = sum(trial.state in _OPEN for trial in trials)
    workers = max(1, sum(trial.state == TrialState.RUNNING for trial in trials))
    seconds = waiting * sum(times) / len(times) / workers - spent
    return f" | about {datetime.timedelta(seconds=max(0, round(seconds)))} left"
