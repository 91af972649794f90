import types

import optuna
import pytest
from optuna.trial import TrialState

from tfqkd.study import attributes
from tfqkd.study.database import join, open_storage, sqlite_url
from tfqkd.study.samplers import make_pruner, make_sampler
from tfqkd.study.watch import Watch

from .tried import plan

GRACE = 6


@pytest.fixture
def study(tmp_path):
    storage = open_storage(sqlite_url(tmp_path / "study.db"), GRACE)
    only = plan("temperature=1,2")
    return join(storage, "watched", only, make_sampler(only), make_pruner(only))


@pytest.fixture
def clock(monkeypatch):
    now = types.SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(
        "tfqkd.study.watch.time", types.SimpleNamespace(monotonic=lambda: now.seconds)
    )
    return now


def states(study):
    return [trial.state for trial in study.trials]


def test_a_trial_that_has_not_begun_is_put_back_after_the_grace(study, clock):
    watch, trial = Watch(study, GRACE), study.ask()
    for seconds in (0, 3, GRACE):
        clock.seconds = seconds
        watch.look()
        assert states(study)[trial.number] == TrialState.RUNNING
    clock.seconds = GRACE + 1
    watch.look()
    assert states(study)[trial.number] == TrialState.FAIL
    again = study.trials[-1]
    assert (again.state, again.user_attrs) == (TrialState.WAITING, {"queued": True, "control": {}})
    assert optuna.storages.RetryHeartbeatStaleTrialCallback.retry_history(again) == [trial.number]


def test_two_workers_that_see_it_put_it_back_once(study, clock, tmp_path):
    other = optuna.load_study(study_name="watched", storage=sqlite_url(tmp_path / "study.db"))
    watches = [Watch(study, GRACE), Watch(other, GRACE)]
    study.ask()
    for seconds in (0, GRACE + 1):
        clock.seconds = seconds
        for watch in watches:
            watch.look()
    assert states(study).count(TrialState.FAIL) == 1
    assert states(study).count(TrialState.WAITING) == 3


def test_a_trial_that_has_begun_is_left_to_its_signs_of_life(study, clock):
    watch, trial = Watch(study, GRACE), study.ask()
    trial.set_user_attr(attributes.SETTINGS, {})
    for seconds in (0, GRACE + 1, 9 * GRACE):
        clock.seconds = seconds
        watch.look()
    assert states(study)[trial.number] == TrialState.RUNNING
