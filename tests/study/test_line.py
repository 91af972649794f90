import datetime

import pytest

from tfqkd.study.line import WorkerLine

from .tried import accuracy, begin, objective, plan


@pytest.fixture
def study(tmp_path):
    small = plan("temperature=1,2,8")
    study = begin(tmp_path, small)
    study.optimize(objective(small, accuracy), n_trials=2)
    return study


def test_the_line_says_trial_epoch_best_and_time_left(study, capsys, monkeypatch):
    # Where the output is a file a line is printed now and then: here always.
    monkeypatch.setattr("tfqkd.study.line._SECONDS_BETWEEN_LINES", -1.0)
    best = study.trials[1]
    line = WorkerLine()
    line.begin(study, 2, {"temperature": 8.0}, control=False)
    stage = line.stage("ternary student", 5, 10, 64)
    stage.on_epoch_begin(2)
    shown = capsys.readouterr().out.splitlines()[-1]
    assert shown.startswith(
        f"trial 2 temperature=8 (2/4 done) | best {100 * best.value:.2f} % (trial 1) | about "
    )
    assert shown.endswith(" left | ternary student, epoch 3/5")


def test_the_time_left_is_that_of_the_trials_to_come(study, capsys, monkeypatch):
    monkeypatch.setattr("tfqkd.study.line._SECONDS_BETWEEN_LINES", -1.0)
    trials = study.get_trials()
    for trial in trials[:2]:
        trial.datetime_complete = trial.datetime_start + datetime.timedelta(seconds=600)
    monkeypatch.setattr(study, "get_trials", lambda deepcopy: trials)
    WorkerLine().begin(study, 2, {}, control=True)
    # Two trials of ten minutes by one worker.
    assert "control 2 (2/4 done)" in (out := capsys.readouterr().out)
    assert "about 0:20:00 left" in out


def test_a_trial_leaves_one_line(capsys):
    WorkerLine().end("trial 3 temperature=2: 90.00 %")
    assert capsys.readouterr().out == "trial 3 temperature=2: 90.00 %\n"
