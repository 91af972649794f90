import pytest

from tfqkd.fronts.trainer import Position
from tfqkd.fronts.workers import Workers
from tfqkd.process.interruption import Interrupted
from tfqkd.training import saving
from tfqkd.training.saving import Interval, SaveCheckpoints

ALONE = Workers()


class Finite:
    """Stands for a training that does not diverge."""

    def require_none(self):
        pass

    def require_finite_weights(self, where):
        pass


class Recorder:
    """Stands for the checkpoints on disk."""

    def __init__(self):
        self.saved, self.averages = [], 0

    def save(self, position):
        self.saved.append(position)

    def restore_metrics(self):
        self.averages += 1


def run_epochs(saver, first, epochs, steps, each=1, skip=0):
    for epoch in range(first, epochs):
        saver.on_epoch_begin(epoch)
        for step in range(skip, steps, each):
            saver.on_train_batch_end(min(step + each, steps) - 1, {})
        skip = 0
        saver.on_epoch_end(epoch, {})


@pytest.mark.parametrize(
    ("text", "interval"),
    [("", Interval()), ("500", Interval(steps=500)), ("10m", Interval(seconds=600.0))],
)
def test_an_interval_is_minutes_or_steps(text, interval):
    assert Interval.parse(text) == interval


def test_every_epoch_is_saved_and_no_step_by_default():
    recorder = Recorder()
    run_epochs(
        SaveCheckpoints(recorder, Finite(), Position(0, 0), 5, Interval(), "x", ALONE), 0, 2, 5
    )
    assert recorder.saved == [(1, 0), (2, 0)]
    assert recorder.averages == 0


@pytest.mark.parametrize(
    ("each", "expected"),
    [
        (1, [(0, 3), (0, 6), (1, 0), (1, 3), (1, 6), (2, 0)]),
        # Where a call makes several steps, at the end of the call that reaches it.
        (2, [(0, 4), (1, 0), (1, 4), (2, 0)]),
        (7, [(1, 0), (2, 0)]),
    ],
)
def test_so_many_steps_lie_between_two(each, expected):
    recorder = Recorder()
    run_epochs(
        SaveCheckpoints(recorder, Finite(), Position(0, 0), 7, Interval(steps=3), "x", ALONE),
        0,
        2,
        7,
        each,
    )
    assert recorder.saved == expected


def test_a_training_that_goes_on_counts_from_its_checkpoint_and_takes_its_averages_once():
    recorder = Recorder()
    saver = SaveCheckpoints(recorder, Finite(), Position(1, 2), 7, Interval(steps=3), "x", ALONE)
    run_epochs(saver, 1, 3, 7, skip=2)
    assert recorder.saved == [(1, 5), (2, 0), (2, 3), (2, 6), (3, 0)]
    assert recorder.averages == 1


def test_so_many_minutes_lie_between_two(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(saving.time, "monotonic", lambda: now[0])
    recorder = Recorder()
    saver = SaveCheckpoints(
        recorder, Finite(), Position(0, 0), 10, Interval.parse("1m"), "x", ALONE
    )
    saver.on_epoch_begin(0)
    for step in range(9):
        now[0] += 25
        saver.on_train_batch_end(step, {})
    # 75 s, 150 s and 225 s.
    assert recorder.saved == [(0, 3), (0, 6), (0, 9)]


@pytest.mark.parametrize("at", [(0, 2), (0, 4), (1, 1)])
def test_a_signal_is_heard_after_its_step_or_epoch(monkeypatch, at):
    recorder = Recorder()
    saver = SaveCheckpoints(
        recorder, Finite(), Position(0, 0), 4, Interval(), "float student", ALONE
    )
    epoch, step = at
    calls = [0]

    def requested():
        calls[0] += 1
        return 15 if calls[0] > epoch * 4 + step - 1 else None

    monkeypatch.setattr(saving, "requested", requested)
    with pytest.raises(Interrupted) as error:
        run_epochs(saver, 0, 2, 4)
    position = Position(1, 0) if at == (0, 4) else Position(*at)
    assert recorder.saved[-1] == position
    assert str(error.value) == f"Stopped by SIGTERM after {position} of the float student."
    assert error.value.number == 15


def test_weights_that_are_not_finite_are_not_kept():
    class Ruined(Finite):
        def require_finite_weights(self, where):
            if where != "epoch 0 and 2 steps":
                raise ValueError(where)

    recorder = Recorder()
    saver = SaveCheckpoints(recorder, Ruined(), Position(0, 0), 9, Interval(2), "x", ALONE)
    saver.on_epoch_begin(0)
    saver.on_train_batch_end(1, {})
    with pytest.raises(ValueError, match="epoch 0 and 4 steps"):
        saver.on_train_batch_end(3, {})
    assert recorder.saved == [(0, 2)]


class Diverged:
    """Stands for a training that diverges after some steps."""

    def __init__(self, after):
        self.steps, self.after, self.asked = 0, after, 0

    def require_none(self):
        self.asked += 1
        if self.steps > self.after:
            raise ValueError("diverged")

    def require_finite_weights(self, where):
        pass


@pytest.mark.parametrize(
    ("every", "saved", "noticed"),
    [
        # Before a checkpoint, and at the last step of the epoch, before anything is validated.
        (Interval(steps=10), [(0, 10)], 20),
        (Interval(), [], 50),
    ],
)
def test_what_has_diverged_is_not_kept(monkeypatch, every, saved, noticed):
    monkeypatch.setattr(saving.time, "monotonic", lambda: 0.0)
    recorder, training = Recorder(), Diverged(after=12)
    saver = SaveCheckpoints(recorder, training, Position(0, 0), 50, every, "x", ALONE)
    saver.on_epoch_begin(0)
    with pytest.raises(ValueError, match="diverged"):
        for step in range(50):
            training.steps += 1
            saver.on_train_batch_end(step, {})
    assert training.steps == noticed
    assert recorder.saved == saved


def test_the_host_looks_about_once_a_second(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(saving.time, "monotonic", lambda: now[0])
    training = Diverged(after=10**9)
    saver = SaveCheckpoints(Recorder(), training, Position(0, 0), 10**6, Interval(), "x", ALONE)
    saver.on_epoch_begin(0)
    for step in range(10_000):
        now[0] += 0.01
        saver.on_train_batch_end(step, {})
    assert training.asked == pytest.approx(100, abs=2)
    # A training that becomes slow is looked at in time again.
    asked = training.asked
    for step in range(10_000, 10_200):
        now[0] += 2
        saver.on_train_batch_end(step, {})
    assert training.asked - asked >= 100
