import statistics

import numpy as np
import pytest

from tfqkd.runtime import latency


class Clock:
    """Stands in for time.perf_counter: only the files below let it go on."""

    now = 0.0

    def __call__(self):
        return self.now


class File:
    """Takes `seconds` an image, and a tenth more in each call than in the one before."""

    input_shape = (2, 2, 1)

    def __init__(self, name, seconds, clock, calls):
        self.name, self.seconds, self.clock, self.calls = name, seconds, clock, calls
        self.number = 0

    def __call__(self, images):
        assert images.shape[1:] == self.input_shape and images.dtype == np.uint8
        self.clock.now += self.seconds * len(images) * (1 + 0.1 * self.number)
        self.number += 1
        self.calls.append((self.name, len(images)))


@pytest.fixture
def measured(monkeypatch):
    """What three files took, and in which order they were called."""
    clock, calls, opened = Clock(), [], []
    monkeypatch.setattr(latency.time, "perf_counter", clock)

    def load(path, threads, *, direct):
        opened.append((path, threads, direct))
        return File(path, {"a": 1.0, "b": 2.0, "c": 5.0}[path], clock, calls)

    files = [("a", False), ("b", True), ("c", False)]
    found = latency.latencies(files, threads=2, rounds=[(1, 6), (4, 6)], load=load)
    assert opened == [("a", 2, False), ("b", 2, True), ("c", 2, False)]
    return found, calls


def test_in_each_round_every_file_runs_once_in_changing_order(measured):
    _, calls = measured
    rounds = [calls[start : start + 3] for start in range(0, len(calls), 3)]
    # For each batch six rounds, and one before that warms up.
    assert [count for one in rounds for _, count in one] == [1] * 21 + [4] * 21
    assert all(sorted(name for name, _ in one) == ["a", "b", "c"] for one in rounds)
    assert len({tuple(name for name, _ in one) for one in rounds}) > 2


def test_the_first_call_does_not_count(measured):
    found, _ = measured
    for seconds, results in zip((1.0, 2.0, 5.0), found, strict=True):
        # The second to the seventh call of a batch of 1; the ninth to the fourteenth of 4.
        for result, batch, first in zip(results, (1, 4), (1, 8), strict=True):
            times = [seconds * batch * (1 + 0.1 * number) for number in range(first, first + 6)]
            low, _, high = statistics.quantiles(times, n=4)
            assert (result["threads"], result["batch"]) == (2, batch)
            assert result["median"] == pytest.approx(statistics.median(times))
            assert result["spread"] == pytest.approx(high - low)
