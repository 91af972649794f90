import time

import optuna
import pytest
import sqlalchemy
from optuna.trial import TrialState

from tfqkd.study.database import (
    StudyNotFoundError,
    find,
    give_back,
    join,
    open_storage,
    required,
    retry,
    sqlite_url,
    without_password,
)
from tfqkd.study.samplers import make_pruner, make_sampler

from .tried import begin, plan


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("no url", "Could not parse"),
        ("sqlite:////no/such/directory/study.db", "unable to open database file"),
        ("nonsense://host/db", "nonsense"),
        ("postgresql://me:secret@127.0.0.1:1/studies", "refused"),
        ("mysql+pymysql://me:secret@127.0.0.1:1/studies", "refused"),
        # SQLAlchemy takes mysql:// for a driver that tfqkd does not bring along.
        ("mysql://me:secret@127.0.0.1/studies", "pip install 'tfqkd[study]'"),
    ],
)
def test_a_storage_that_cannot_be_reached_is_said_without_its_password(url, reason):
    with pytest.raises(ValueError, match="`storage` must be the URL of a database") as error:
        open_storage(url, 60)
    assert reason in str(error.value)
    assert "secret" not in str(error.value)


def test_passwords_are_not_shown():
    assert without_password("postgresql://me:secret@host/db") == "postgresql://me:***@host/db"
    assert without_password("sqlite:///a.db") == "sqlite:///a.db"


def test_the_second_worker_joins_the_queue_of_the_first(tmp_path):
    first = begin(tmp_path, plan())
    count = len(first.trials)
    second = begin(tmp_path, plan())
    assert len(second.trials) == len(first.trials) == count == 24 + 4
    assert first.ask().number != second.ask().number


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"repeats": 3}, "repeats: 2 there, 3 given"),
        ({"pruner": "hyperband"}, "pruner: 'none' there, 'hyperband' given"),
    ],
)
def test_a_study_of_another_plan_under_the_name_is_refused(tmp_path, change, line):
    begin(tmp_path, plan())
    with pytest.raises(ValueError, match="A study belongs to one recipe and space") as error:
        begin(tmp_path, plan(**change))
    assert line in str(error.value)


def test_a_study_of_another_recipe_under_the_name_is_refused(tmp_path):

    begin(tmp_path, plan())
    other = plan(recipe=plan().recipe.changed(student="cnn6"))
    with pytest.raises(ValueError, match="student: 'cnn4' there, 'cnn6' given"):
        begin(tmp_path, other)
    begin(tmp_path, other, name="another name")


def test_a_worker_that_is_stopped_while_it_fills_the_queue_leaves_no_study(tmp_path, monkeypatch):
    def stop(study, plan):
        study.enqueue_trial({})
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tfqkd.study.database.fill", stop)
        with pytest.raises(KeyboardInterrupt):
            begin(tmp_path, plan())
    assert len(begin(tmp_path, plan()).trials) == 24 + 4


def test_a_study_is_found_by_its_name_and_plan(tmp_path):
    begun, url = begin(tmp_path, plan()), sqlite_url(tmp_path / "study.db")
    assert len(find(url, "tried", plan(), 60).trials) == len(begun.trials)
    with pytest.raises(ValueError, match="A study belongs to one recipe and space"):
        find(url, "tried", plan(repeats=3), 60)
    with pytest.raises(StudyNotFoundError, match="'other', which is not in sqlite"):
        find(url, "other", plan(), 60)


def test_a_study_whose_queue_is_not_full_is_not_found(tmp_path):
    storage = open_storage(sqlite_url(tmp_path / "study.db"), 60)
    optuna.create_study(storage=storage, study_name="half", direction="maximize")
    with pytest.raises(StudyNotFoundError, match="must be started"):
        find(sqlite_url(tmp_path / "study.db"), "half", plan(), 60)


def test_looking_for_a_study_makes_no_file(tmp_path):
    with pytest.raises(StudyNotFoundError, match="studies there: none"):
        find(sqlite_url(tmp_path / "study.db"), "tried", plan(), 60)
    assert list(tmp_path.iterdir()) == []


def test_a_study_whose_beginner_died_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("tfqkd.study.database._SECONDS_TO_BEGIN", 0.0)
    storage = open_storage(sqlite_url(tmp_path / "study.db"), 60)
    optuna.create_study(storage=storage, study_name="half", direction="maximize")
    with pytest.raises(TimeoutError, match="Start again under another --study_name"):
        join(storage, "half", plan(), make_sampler(plan()), make_pruner(plan()))


@pytest.mark.parametrize("put_back", [give_back, retry])
def test_a_trial_that_is_put_back_is_queued_with_the_same_settings(tmp_path, put_back):
    study = begin(tmp_path, plan("temperature=1,2,8"))
    control, trial = study.ask(), study.ask()
    settings = trial.suggest_categorical("temperature", [1.0, 2.0, 8.0])
    for taken in (control, trial):
        study.tell(taken, state=TrialState.FAIL)
        put_back(study, study.trials[taken.number])
    *_, again_control, again = study.trials
    assert again.state == again_control.state == TrialState.WAITING
    assert again.params == {"temperature": settings}
    assert again.user_attrs == {"queued": True}
    assert again_control.user_attrs == {"queued": True, "control": {}}


def test_a_worker_without_a_sign_of_life_loses_its_trial(tmp_path):
    storage = open_storage(sqlite_url(tmp_path / "study.db"), grace_seconds=1)
    only = plan("temperature=1,2")
    study = join(storage, "dying", only, make_sampler(only), make_pruner(only))
    dead = study.ask()
    # What the heartbeat of a worker does once a second.
    storage.record_heartbeat(dead._trial_id)
    optuna.storages.fail_stale_trials(study)
    assert study.trials[dead.number].state == TrialState.RUNNING
    time.sleep(2.5)
    optuna.storages.fail_stale_trials(study)
    assert study.trials[dead.number].state == TrialState.FAIL
    assert study.trials[-1].state == TrialState.WAITING
    assert study.trials[-1].user_attrs == {"queued": True, "control": {}}


def test_a_storage_that_is_lost_is_one_message_without_its_password(tmp_path):
    study, url = begin(tmp_path, plan()), sqlite_url(tmp_path / "study.db")
    with sqlalchemy.create_engine(url).begin() as connection:
        connection.execute(sqlalchemy.text("DROP TABLE trials"))
    with (
        pytest.raises(RuntimeError, match="must be reachable as long as a worker runs") as error,
        required("postgresql://me:secret@host/db"),
    ):
        study.ask()
    assert "no such table: trials" in str(error.value)
    assert "me:***@host" in str(error.value)
    assert "\n" not in str(error.value)
