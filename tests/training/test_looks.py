import threading

import pytest

from tfqkd.training import looks
from tfqkd.training.looks import Looks


class Together:
    """Workers of one replica each, in threads, as `Workers` but for the processes."""

    def __init__(self, count):
        self.count, self.meetings = count, 0
        self._barrier = threading.Barrier(count)
        self._said = []

    def agree(self, flags, number):
        if self._barrier.wait(10) == 0:
            self._said.clear()
            self.meetings += 1
        self._barrier.wait(10)
        self._said.append((flags, number))
        self._barrier.wait(10)
        flags = [any(column) for column in zip(*(said for said, _ in self._said), strict=True)]
        numbers = [number for _, number in self._said]
        self._barrier.wait(10)
        return *flags, sum(numbers) // self.count


def train(workers, seconds, steps, asked, monkeypatch):
    """Lets workers of different speeds make steps; returns at which each looked and what it heard."""
    now = threading.local()
    monkeypatch.setattr(looks.time, "monotonic", lambda: getattr(now, "value", 0.0))
    heard = [[] for _ in seconds]

    def work(index):
        look = Looks(workers)
        for step in range(1, steps + 1):
            now.value = step * seconds[index]
            stop = asked.get(index, steps + 1) <= step
            if look.due(stop):
                heard[index].append((step, *look.agree(stop)))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(seconds))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    return heard


def test_workers_look_at_the_same_steps_whatever_their_speed(monkeypatch):
    workers = Together(2)
    first, second = train(workers, [0.01, 0.02], 2_000, {}, monkeypatch)
    assert first == second
    # After the first step about once a second: 100 steps of the one and 50 of the other.
    assert first[0] == (1, False)
    assert workers.meetings == pytest.approx(2_000 / 75, abs=3)


def test_what_one_worker_was_asked_all_hear_at_their_next_look(monkeypatch):
    first, second = train(Together(2), [0.1, 0.1], 100, {1: 42}, monkeypatch)
    assert first == second
    heard = dict(first)
    assert min(step for step, stop in heard.items() if stop) - 42 in range(11)
    assert not any(stop for step, stop in heard.items() if step < 42)


def test_a_process_by_itself_hears_at_once(monkeypatch):
    monkeypatch.setattr(looks.time, "monotonic", lambda: 0.0)

    class Alone:
        count = 1

        def agree(self, flags, number):
            return *flags, number

    look = Looks(Alone())
    assert look.due(False)
    assert look.agree(False) == (False,)
    assert not look.due(False)
    assert look.due(True)
    assert look.agree(True) == (True,)
