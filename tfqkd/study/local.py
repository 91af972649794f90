"""A study in one process, without Optuna: trials are calls of `run`, and a JSON file keeps what is done."""

import dataclasses
import enum
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from tfqkd.progress import ProgressBar
from tfqkd.storage import locked_at_once, read_json, write_atomically
from tfqkd.study.plan import Plan
from tfqkd.study.queue import describe, planned
from tfqkd.study.results import StudyResults
from tfqkd.study.trial import TrialRunner
from tfqkd.training.directory import append_command

LOCAL_FILE = "study.json"
_SHAPE = {"plan": dict, "trials": [{"number": int, "value": (int, float), "user_attrs": dict}, ...]}
_MOST_ERRORS_IN_A_ROW = 3


class State(enum.Enum):
    """How a trial stands; the names are Optuna's."""

    WAITING = "waiting"
    COMPLETE = "complete"
    FAIL = "fail"


@dataclasses.dataclass
class LocalTrial:
    """A trial of such a study, with the few names of Optuna's that a trial is asked by.

    Attributes:
        number: Its index in the queue.
        params: Its settings; none for a control.
        user_attrs: What it leaves, see `attributes`.
        value: Its mean validation accuracy.
        state: How it stands.
        distributions: None are drawn from.
    """

    number: int
    params: dict[str, Any]
    user_attrs: dict[str, Any]
    value: float | None = None
    state: State = State.WAITING
    distributions: dict[str, Any] = dataclasses.field(default_factory=dict)
    study: Any = None

    def set_user_attr(self, name: str, value: Any) -> None:
        """Leaves a value."""
        self.user_attrs[name] = value

    def suggest_categorical(self, name: str, values: Sequence[Any]) -> Any:
        """Returns its setting."""
        return self.params[name]


class LocalStudy:
    """All trials of such a study, done or not.

    Args:
        plan: Of the study.
        directory: Holds what is done, if anything is.

    Raises:
        ValueError: If the directory has another study.
    """

    def __init__(self, plan: Plan, directory: pathlib.Path) -> None:
        self.study_name = directory.resolve().name
        self._plan, self._file = plan, directory / LOCAL_FILE
        self._trials = [LocalTrial(n, *each) for n, each in enumerate(planned(plan))]
        kept = read_json(self._file, _SHAPE) if self._file.exists() else {"trials": []}
        differences = plan.differences(json.dumps(kept["plan"])) if "plan" in kept else {}
        if differences:
            listed = "\n".join(
                f"  {n}: {a!r} there, {b!r} given" for n, (a, b) in differences.items()
            )
            raise ValueError(
                f"A study belongs to one recipe and space. Received: another one for {directory}:\n{listed}\n"
                "Give another --run_dir, or the study's own recipe and space."
            )
        for done in kept["trials"]:
            trial = self._trials[done["number"]]
            trial.value, trial.user_attrs, trial.state = (
                done["value"],
                done["user_attrs"],
                State.COMPLETE,
            )

    def get_trials(self, deepcopy: bool = True) -> list[LocalTrial]:
        """Returns them in the order of the queue."""
        return self._trials

    def save(self) -> None:
        """Writes what is done."""
        done = [trial for trial in self._trials if trial.state is State.COMPLETE]
        names = ("number", "value", "user_attrs")
        trials = [{name: getattr(trial, name) for name in names} for trial in done]
        kept = {"plan": json.loads(self._plan.to_json()), "trials": trials}
        write_atomically(self._file, json.dumps(kept, indent=2) + "\n")


class _Status:
    """Shows each stage by a bar of its own."""

    stage = ProgressBar

    def begin(self, study: Any, number: int, settings: dict[str, Any], control: bool) -> None:
        """Says which trial it is."""
        print(describe(number, settings, control), flush=True)


def run_local_study(
    plan: Plan, directory: pathlib.Path, command: list[str] | None = None
) -> StudyResults:
    """Runs the trials of a study one after the other; the same call resumes where it stopped.

    A trial that breaks off for a reason of its own, such as a loss that is not finite, is named, and tried
    again by the next call.

    Args:
        plan: Of a grid, without a pruner.
        directory: Gets the trials' run directories, the products that they share, and `study.json`.
        command: The command line that asked for it, kept in the directory.

    Returns:
        What was found.

    Raises:
        ValueError: If a model does not fit the data, the directory has another study, or three trials in a
            row failed.
        RuntimeError: If another process works on the directory.
    """
    study = LocalStudy(plan, directory)
    runner = TrialRunner(plan, directory, _Status())
    runner.check()
    directory.mkdir(parents=True, exist_ok=True)
    with locked_at_once(directory / ".lock"):
        study.save()
        if command:
            append_command(directory, command)
        errors = 0
        for trial in study.get_trials():
            if trial.state is State.COMPLETE:
                continue
            try:
                trial.value = runner(trial)
            except ValueError as error:
                trial.state, errors = State.FAIL, errors + 1
                print(f"Trial {trial.number} failed: {error}", flush=True)
                if errors == _MOST_ERRORS_IN_A_ROW:
                    raise
                continue
            trial.state, errors = State.COMPLETE, 0
            study.save()
            print(f"Trial {trial.number}: {100 * trial.value:.2f} %", flush=True)
    return StudyResults.read(study, plan)
