import time
import types

import optuna
import pytest
from optuna.trial import TrialState

from tfqkd.study.samplers import make_pruner, make_sampler
from tfqkd.study.storage import join, open_storage, sqlite_url
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


@pytest.fixture
def beats(study, monkeypatch):
    """The trials that were given a sign of life."""
    seen = []
    monkeypatch.setattr(study._storage, "record_heartbeat", seen.append)
    return seen


def test_a_trial_without_any_sign_of_life_is_given_one_after_the_grace(study, clock, beats):
    watch, trial = Watch(study), study.ask()
    for seconds in (0, 3, GRACE):
        clock.seconds = seconds
        watch.look()
        assert beats == []
    for seconds in (GRACE + 1, 2 * GRACE, 9 * GRACE):
        # Only one: a second one would keep a dead worker's trial for ever.
        clock.seconds = seconds
        watch.look()
        assert beats == [trial._trial_id]


def test_trials_that_run_for_less_than_the_grace_are_left_alone(study, clock, beats):
    watch = Watch(study)
    for seconds in range(0, 10 * GRACE, GRACE // 2):
        clock.seconds = seconds
        trial = study.ask()
        watch.look()
        study.tell(trial, 0.5)
    assert beats == []


def test_the_trial_of_a_worker_that_died_before_its_first_sign_of_life_is_put_back(tmp_path, clock):
    storage = open_storage(sqlite_url(tmp_path / "dead.db"), grace_seconds=1)
    only = plan("temperature=1,2")
    study = join(storage, "dead", only, make_sampler(only), make_pruner(only))
    dead, watch = study.ask(), Watch(study)
    watch.look()
    clock.seconds = 60.0
    watch.look()
    assert study.trials[dead.number].state == TrialState.RUNNING
    # The grace now runs in the database, whose clock is real and counts whole seconds.
    end = time.monotonic() + 10
    while study.trials[dead.number].state == TrialState.RUNNING and time.monotonic() < end:
        time.sleep(0.2)
        watch.look()
    assert study.trials[dead.number].state == TrialState.FAIL
    again = study.trials[-1]
    assert (again.state, again.user_attrs) == (TrialState.WAITING, {"queued": True, "control": {}})
    assert optuna.storages.RetryHeartbeatStaleTrialCallback.retry_history(again) == [dead.number]
