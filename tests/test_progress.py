import io
import sys
import types

import pytest

from tfqkd import progress
from tfqkd.progress import ProgressBar


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def train(bar, clock, epochs, steps, first=0, seconds=1.0, each=1):
    """Calls the bar as `fit` does, after a first step of a minute; `each` steps a call."""
    bar.on_train_begin()
    wait = 60.0
    for epoch in range(first, epochs):
        bar.on_epoch_begin(epoch)
        for step in range(each - 1, steps, each):
            clock.now += wait
            wait = seconds * each
            logs = {"loss": 2.0, "accuracy": 0.5, "hidden": 1.0}
            bar.on_train_batch_end(step, logs)
        bar.on_epoch_end(epoch, {**logs, "val_accuracy": 0.25})
    bar.on_train_end()


def test_the_last_line_has_the_rate_without_the_first_step(clock, capsys):
    bar = ProgressBar("float teacher", epochs=2, steps_per_epoch=5, batch_size=100)
    train(bar, clock, epochs=2, steps=5, seconds=0.5)
    assert capsys.readouterr().out.splitlines()[-1] == (
        "float teacher: 2 epochs, 200 images/s, loss 2.000 accuracy 0.500 val_accuracy 0.250"
    )


@pytest.mark.parametrize("each", [2, 5])
def test_the_rate_is_the_same_when_several_steps_are_one_call(clock, capsys, each):
    bar = ProgressBar("float teacher", epochs=2, steps_per_epoch=10, batch_size=100)
    train(bar, clock, epochs=2, steps=10, seconds=0.5, each=each)
    assert "2 epochs, 200 images/s," in capsys.readouterr().out


def test_a_line_now_and_then_says_what_is_left(clock, capsys):
    bar = ProgressBar("student", epochs=2, steps_per_epoch=50, batch_size=10)
    train(bar, clock, epochs=2, steps=50)
    lines = capsys.readouterr().out.splitlines()
    # The first step takes a minute, which is no measure: nothing is said of the time left.
    assert lines[0] == "student: epoch 1/2, loss 2.000 accuracy 0.500"
    # Lines come every 21 s; 22 steps are done and 78 left, at one a second.
    assert lines[1] == "student: epoch 1/2, 10 images/s, 0:01:18 left, loss 2.000 accuracy 0.500"
    assert len(lines) == 6
    assert lines[-2] == "student: epoch 2/2, 10 images/s, 0:00:15 left, loss 2.000 accuracy 0.500"


def test_a_stage_that_goes_on_counts_from_where_it_stopped(clock, capsys):
    bar = ProgressBar("student", epochs=3, steps_per_epoch=50, batch_size=10, first_epoch=2)
    train(bar, clock, epochs=3, steps=50, first=2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "student: epoch 3/3, 10 images/s, 0:00:28 left, loss 2.000 accuracy 0.500"
    assert lines[-1].startswith("student: 3 epochs, 10 images/s")


def test_a_terminal_gets_a_bar_that_is_taken_away(clock, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    bar = ProgressBar("student", epochs=1, steps_per_epoch=4, batch_size=10)
    train(bar, clock, epochs=1, steps=4)
    text = terminal.getvalue()
    assert "4/4" in text
    assert "student: 1 epochs, 10 images/s" in text.splitlines()[-1]
    bar.close()


class Notebook:
    """IPython in a notebook: notes what a cell shows, and how often it has changed."""

    def __init__(self, **shell):
        self.shown, self.changes = [], 0
        self.display = types.SimpleNamespace(display=self._display)
        self._shell = types.SimpleNamespace(**shell)

    def get_ipython(self):
        return self._shell

    def _display(self, data, *, raw, display_id):
        assert raw
        assert display_id
        self.shown.append(data["text/plain"])
        return self

    def update(self, data, *, raw):
        assert raw
        self.shown[-1] = data["text/plain"]
        self.changes += 1


def test_a_notebook_has_one_line_a_stage_that_changes(clock, capsys, monkeypatch):
    notebook = Notebook(kernel="a kernel")
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    for title in ("teacher", "student"):
        bar = ProgressBar(title, epochs=2, steps_per_epoch=5, batch_size=100)
        train(bar, clock, epochs=2, steps=5, seconds=0.5)
    assert notebook.shown == [
        f"{title}: 2 epochs, 200 images/s, loss 2.000 accuracy 0.500 val_accuracy 0.250"
        for title in ("teacher", "student")
    ]
    assert notebook.changes == 20
    assert capsys.readouterr().out == ""


def test_ipython_in_a_terminal_is_no_notebook(clock, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", Notebook())
    bar = ProgressBar("teacher", epochs=1, steps_per_epoch=5, batch_size=100)
    train(bar, clock, epochs=1, steps=5)
    assert "teacher: 1 epochs" in capsys.readouterr().out
