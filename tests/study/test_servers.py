"""Workers in processes of their own, on one database server."""

import os
import pathlib
import subprocess
import sys
import time

import pytest
from optuna.trial import TrialState

from tfqkd.study.database import join, open_storage
from tfqkd.study.results import StudyResults
from tfqkd.study.samplers import make_pruner, make_sampler

from . import mysql, postgres
from .tried import accuracy, plan

TESTS = pathlib.Path(__file__).resolve().parents[1]
GRACE = 6
SCRIPT = """
import sys, time
from study.test_servers import GRACE, connect
from study.test_worker import Line
from study.tried import accuracy, objective, plan
from tfqkd.study.worker import work

name, url, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
grid = plan("temperature=1,2,4,8", "schedule=constant,gradual")
study = connect(url, grid)
run = objective(grid, accuracy)

def slow(trial):
    trial.set_user_attr("worker", name)
    print("began", trial.number, flush=True)
    time.sleep(seconds)
    return run(trial)

print("ended", work(study, slow, Line(), GRACE), flush=True)
"""


def connect(url, grid):
    storage = open_storage(url, grace_seconds=GRACE)
    return join(storage, "shared", grid, make_sampler(grid), make_pruner(grid))


@pytest.fixture(
    params=[
        pytest.param(postgres, id="postgresql"),
        pytest.param(mysql, id="mysql", marks=pytest.mark.slow),
    ]
)
def database(request):
    with request.param.running() as url:
        yield url


def worker(name, url, seconds):
    root = TESTS.parent
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, name, url, str(seconds)],
        env={**os.environ, "PYTHONPATH": f"{root}:{TESTS}"},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_two_workers_share_a_study_and_a_dead_ones_trial_is_taken_over(database):
    # This one would hold its trial for an hour; it is killed in the middle of it.
    dying = worker("dying", database, 3600)
    assert dying.stdout.readline().startswith("began")
    workers = [worker(name, database, 0.3) for name in ("one", "two")]
    for each in workers:
        assert each.stdout.readline().startswith("began")
    dying.kill()
    dying.wait()
    dying.stdout.close()
    start = time.monotonic()
    outputs = [each.communicate(timeout=120)[0] for each in workers]
    assert time.monotonic() - start < 60
    assert [each.returncode for each in workers] == [0, 0]

    grid = plan("temperature=1,2,4,8", "schedule=constant,gradual")
    study = connect(database, grid)
    done = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    (lost,) = [trial for trial in study.trials if trial.state == TrialState.FAIL]
    assert lost.user_attrs["worker"] == "dying"
    # Every setting once, by one of the two; each had a share.
    assert len(done) == 8 + 2
    by = [trial.user_attrs["worker"] for trial in done]
    assert set(by) == {"one", "two"}
    ended = [int(output.split()[-1]) for output in outputs]
    assert ended == [by.count("one"), by.count("two")]
    results = StudyResults.read(study, grid)
    assert len(results.taught) == 8 * 2
    for row in results.taught.itertuples():
        settings = {"temperature": row.temperature, "schedule": row.schedule, "teacher": "cnn8"}
        assert row.validation_accuracy == accuracy(settings, False, row.seed)
