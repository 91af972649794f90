import importlib.util
import sys
import types

import pytest

from tfqkd.fronts.trainer import Watcher
from tfqkd.reporting.tracking import TRACKERS, tracked


class Shown(Watcher):
    """Notes what it is told."""

    def __init__(self, *arguments):
        self.told = [arguments]

    def on_epoch_end(self, epoch, logs):
        self.told.append((epoch, logs))

    def close(self):
        self.told.append("closed")


@pytest.fixture
def packages(monkeypatch):
    """Stand-ins for the trackers, which note their calls."""
    calls = []

    def noting(name):
        return lambda *args, **kwargs: calls.append((name, args, kwargs)) or run

    run = types.SimpleNamespace(log=noting("log"), finish=noting("finish"))
    mlflow = types.SimpleNamespace(
        set_experiment=noting("set_experiment"),
        start_run=noting("start_run"),
        log_metrics=noting("log_metrics"),
        end_run=noting("end_run"),
    )
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=noting("init")))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    return calls


def train(name):
    bar = tracked(name, "first", Shown)("teacher", 3, 10, 64, first_epoch=1)
    bar.on_train_begin()
    bar.on_epoch_begin(1)
    bar.on_train_batch_end(9, {"loss": 1.0})
    bar.on_epoch_end(1, {"loss": 0.5, "learning_rate": 0.1})
    bar.on_train_end()
    bar.close()
    return bar


def test_mlflow_gets_a_run_for_each_stage_and_its_figures_by_epoch(packages):
    bar = train("mlflow")
    assert packages == [
        ("set_experiment", ("first",), {}),
        ("start_run", (), {"run_name": "teacher"}),
        ("log_metrics", ({"loss": 0.5, "learning_rate": 0.1},), {"step": 2}),
        ("end_run", (), {}),
    ]
    assert bar._shown.told == [
        ("teacher", 3, 10, 64, 1),
        (1, {"loss": 0.5, "learning_rate": 0.1}),
        "closed",
    ]


def test_wandb_gets_the_same(packages):
    train("wandb")
    assert packages == [
        ("init", (), {"project": "tfqkd", "group": "first", "name": "teacher"}),
        ("log", ({"loss": 0.5, "learning_rate": 0.1},), {"step": 2}),
        ("finish", (), {}),
    ]


def test_every_tracker_has_its_package():
    assert set(TRACKERS) == {"mlflow", "wandb"}


@pytest.mark.parametrize(("name", "package"), [("mlflow", "mlflow-skinny"), ("wandb", "wandb")])
def test_a_tracker_that_is_not_installed_is_one_line(name, package, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=rf"Received: {name}.* pip install {package}$"):
        tracked(name, "first")
