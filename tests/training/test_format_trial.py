"""Formats that are tried beside the training: a run that is refused keeps nothing, and loses nothing."""

import pytest

from tfqkd.export.verification import ExportError
from tfqkd.fronts.trainer import Watcher
from tfqkd.process.interruption import Interrupted
from tfqkd.recipe.recipe import Recipe
from tfqkd.training import checking, format_trial
from tfqkd.training import run as running
from tfqkd.training.format_trial import FormatTrialWatcher

RECIPE = Recipe(
    {
        "data.crop_padding": 1,
        "data.flip": False,
        "data.train_examples": 320,
        "teacher.training.epochs": 2,
        "student.training.epochs": 2,
        "quantized.training.epochs": 2,
        "training.batch_size": 64,
        "run.checkpoint_every": "3",
    },
    dataset="digits",
    student="cnn2",
    teacher="cnn4",
    formats=("litert-int8",),
)

pytestmark = pytest.mark.usefixtures("on_numpy_front")


class Tried:
    """Stands for a process that has the verdict after so many looks."""

    def __init__(self, looks, error=None):
        self.looks, self.error, self.closed = looks, error, False

    def wait(self, seconds):
        self.looks -= 1
        return self.looks < 0

    def require(self):
        self.looks = -1
        if self.error:
            raise self.error

    def close(self):
        self.closed = True


@pytest.fixture
def tries(monkeypatch):
    """Lets every run have its formats tried by a `Tried`, and export nothing."""

    def by(tried):
        monkeypatch.setattr(format_trial, "try_formats", lambda *_, **__: tried)
        return tried

    monkeypatch.setattr(checking, "require_exportable", lambda *_: None)
    monkeypatch.setattr(running, "_export", lambda *_: ())
    return by


def refusal():
    return ExportError("A format must hold it. Received: another one.")


def left(directory):
    """All that a run leaves but locks, which stay."""
    files = (file for file in directory.rglob("*") if file.is_file())
    return sorted(str(file.relative_to(directory)) for file in files if ".lock" not in file.name)


@pytest.mark.parametrize(
    ("looks", "made"), [(0, 0), (2, 2), (40, 5)], ids=["at once", "in the epoch", "behind it"]
)
def test_a_run_whose_formats_fail_ends_in_its_first_epoch_and_keeps_nothing(
    tmp_path, tries, looks, made
):
    tried, seen = tries(Tried(looks, refusal())), []

    class Steps(running.NoProgress):
        def on_train_batch_end(self, batch, logs):
            seen.append(batch)

        def on_epoch_begin(self, epoch):
            assert epoch == 0

    with pytest.raises(ExportError, match="must hold it"):
        running.run(RECIPE, tmp_path / "run", progress=Steps)
    assert seen == list(range(made))
    assert tried.closed
    assert left(tmp_path) == []
    assert not list((tmp_path / "run" / "products").glob("*.partial"))


class Stop(Watcher):
    def on_epoch_end(self, epoch, logs):
        raise Interrupted(15)


def test_nothing_is_lost_that_an_earlier_call_has_trained(tmp_path, tries):
    directory = tmp_path / "run"
    tries(None)
    with pytest.raises(Interrupted):
        running.run(RECIPE, directory, callbacks=[Stop()])
    before = left(directory)
    assert any("quantized-" in name and "checkpoints" in name for name in before)
    tries(Tried(2, refusal()))
    other = RECIPE.changed(formats=("litert-int2",))
    with pytest.raises(ExportError):
        running.run(other, directory)
    # Neither the recipe nor a checkpoint is another one.
    assert left(directory) == before
    assert '"litert-int8"' in (directory / "recipe.json").read_text()
    tries(None)
    assert running.run(RECIPE, directory) == running.run(RECIPE, tmp_path / "whole")


def test_a_run_whose_formats_pass_is_what_it_is_without_a_trial(tmp_path, tries):
    tries(None)
    without = running.run(RECIPE, tmp_path / "without", command=["bin/train"])
    tried = tries(Tried(5))
    results = running.run(RECIPE, tmp_path / "run", command=["bin/train"])
    assert (results, tried.closed) == (without, True)
    assert left(tmp_path / "run") == left(tmp_path / "without")
    assert len((tmp_path / "run" / "command.txt").read_text().splitlines()) == 1


def test_a_run_is_begun_when_its_formats_have_passed(tmp_path, tries):
    seen = []

    class Looking(running.NoProgress):
        def on_train_batch_end(self, batch, logs):
            seen.append((tmp_path / "run" / "recipe.json").exists())

    tries(Tried(3))
    running.run(RECIPE, tmp_path / "run", progress=Looking)
    assert seen[:5] == [False, False, False, True, True]


def test_a_signal_does_not_wait_for_the_trial(tmp_path, tries, monkeypatch):
    monkeypatch.setattr(format_trial, "requested", lambda: 15)
    tried = tries(Tried(10**6, refusal()))
    watched = FormatTrialWatcher()
    watched.begin("a student", RECIPE.export.formats)
    with watched:
        watched.on_epoch_end(0, {})
    assert (tried.closed, tried.looks) == (True, 10**6)
