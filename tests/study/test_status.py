import datetime
import io
import types

import optuna
import pytest
from optuna.trial import TrialState

from tfqkd.study.status import StudyStatus

from .tried import accuracy, begin, objective, plan


@pytest.fixture
def study(tmp_path):
    small = plan("temperature=1,2,8")
    study = begin(tmp_path, small)
    study.optimize(objective(small, accuracy), n_trials=2)
    return study


def test_the_line_says_trial_epoch_best_and_time_left(study, capsys, monkeypatch):
    # Where the output is a file a line is printed now and then: here always.
    monkeypatch.setattr("tfqkd.study.status._SECONDS_BETWEEN_SHOWS", -1.0)
    best = study.trials[1]
    status = StudyStatus()
    status.begin(study, 2, {"temperature": 8.0}, control=False)
    stage = status.stage("ternary student", 5, 10, 64)
    stage.on_epoch_begin(2)
    shown = capsys.readouterr().out.splitlines()[-1]
    assert shown.startswith(
        f"trial 2 temperature=8 (2/4 done) | best {100 * best.value:.2f} % (trial 1) | about "
    )
    assert shown.endswith(" left | ternary student, epoch 3/5")


def test_the_time_left_is_that_of_the_trials_to_come(study, capsys, monkeypatch):
    monkeypatch.setattr("tfqkd.study.status._SECONDS_BETWEEN_SHOWS", -1.0)
    trials = study.get_trials()
    for trial in trials[:2]:
        trial.datetime_complete = trial.datetime_start + datetime.timedelta(seconds=600)
    monkeypatch.setattr(study, "get_trials", lambda deepcopy: trials)
    StudyStatus().begin(study, 2, {}, control=True)
    # Two trials of ten minutes by one worker.
    assert "control 2 (2/4 done)" in (out := capsys.readouterr().out)
    assert "about 0:20:00 left" in out


def test_the_line_keeps_up_with_the_other_workers_while_a_trial_runs(study, capsys, monkeypatch):
    monkeypatch.setattr("tfqkd.study.status._SECONDS_BETWEEN_SHOWS", -1.0)
    clock = types.SimpleNamespace(monotonic=lambda: 0.0)
    monkeypatch.setattr("tfqkd.study.status.time", clock)
    for trial in (trials := study.get_trials())[:2]:
        trial.datetime_complete = trial.datetime_start + datetime.timedelta(seconds=600)
    monkeypatch.setattr(study, "get_trials", lambda deepcopy: trials)
    status = StudyStatus()
    status.begin(study, 2, {}, control=False)
    stage = status.stage("ternary student", 500, 10, 64)
    trials[2].state, trials[2].value = TrialState.COMPLETE, 0.99
    trials[2].datetime_start = trials[0].datetime_start
    trials[2].datetime_complete = trials[0].datetime_complete
    for seconds in (1.0, 60.0):
        clock.monotonic = lambda seconds=seconds: seconds
        stage.on_epoch_begin(int(seconds))
    begun, early, late = capsys.readouterr().out.splitlines()
    # It asks the storage every few seconds, not at every epoch.
    for shown in (begun, early):
        assert "trial 2 (2/4 done)" in shown
        assert "about 0:20:00 left" in shown
    # One trial of ten minutes, of which one is over.
    assert late == (
        "trial 2 (3/4 done) | best 99.00 % (trial 2) | about 0:09:00 left"
        " | ternary student, epoch 61/500"
    )


def test_a_database_that_does_not_answer_keeps_the_line_as_it_was(study, capsys, monkeypatch):
    for name in ("_SECONDS_BETWEEN_SHOWS", "_SECONDS_BETWEEN_LOOKS"):
        monkeypatch.setattr(f"tfqkd.study.status.{name}", -1.0)
    status = StudyStatus()
    status.begin(study, 2, {}, control=False)
    before = capsys.readouterr().out.strip()

    def refuse(deepcopy):
        raise optuna.exceptions.StorageInternalError

    monkeypatch.setattr(study, "get_trials", refuse)
    status.epoch("float student, epoch 1/2")
    assert capsys.readouterr().out == f"{before} | float student, epoch 1/2\n"


def test_in_a_terminal_one_line_is_written_over_and_over(study, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    status = StudyStatus()
    # Square brackets are a value's own, no markup.
    status.begin(study, 2, {"training.milestones": "[bold]0.5"}, control=False)
    stage = status.stage("ternary student", 5, 10, 64)
    for epoch in range(5):
        stage.on_epoch_begin(epoch)
    status.end("trial 2: 90.00 %")
    written = terminal.getvalue()
    assert "trial 2 training.milestones=[bold]0.5 (2/4 done) | best" in written
    assert "ternary student, epoch 5/5" in written
    # The status leaves nothing behind: what ends a line is how the trial ended.
    erased = written.rindex("\x1b[2K")
    assert written[erased:].removeprefix("\x1b[2K").lstrip("\r").endswith("trial 2: 90.00 %\n")
    assert written.count("\n") - written.count("\n", 0, erased) == 1


def test_a_trial_leaves_one_line(capsys):
    StudyStatus().end("trial 3 temperature=2: 90.00 %")
    assert capsys.readouterr().out == "trial 3 temperature=2: 90.00 %\n"
