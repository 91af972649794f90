import sys

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks.contest import Contestant, compete, ratio

# A contestant without a framework: a step sleeps for so many milliseconds.
SLEEPER = """
import sys, time
from benchmarks.contestant import serve
def prepare():
    if sys.argv[1] == "broken":
        raise ValueError("no such row")
    print("noise that is no answer")
    return lambda steps: time.sleep(steps * float(sys.argv[1]) / 1000)
serve(prepare)
"""


def sleeper(argument):
    return Contestant(str(argument), ["-c", SLEEPER, str(argument)], sys.executable)


def quiet(_):
    pass


def test_contestants_take_turns_and_their_times_are_those_of_the_steps():
    turns, failed = compete([sleeper(4), sleeper(40)], steps=2, rounds=3, progress=quiet)
    assert failed == {}
    assert len(turns["4"].wall) == len(turns["40"].wall) == 3
    assert min(turns["4"].wall) >= 0.008
    assert min(turns["40"].wall) >= 0.08
    assert turns["40"].peak_mib > 1


def test_everyone_has_every_place_in_the_order(tmp_path):
    """What ran before a turn, and left the machine warm or its caches full, is another one each time."""
    log = tmp_path / "log"
    tell = SLEEPER.replace(
        "time.sleep(steps * float(sys.argv[1]) / 1000)", "open(sys.argv[2], 'a').write(sys.argv[1])"
    )
    racers = [Contestant(name, ["-c", tell, name, str(log)], sys.executable) for name in "123"]
    compete(racers, steps=1, rounds=6, progress=quiet)
    turns = log.read_text()[3:]  # After the warm-up of each.
    rounds = [turns[start : start + 3] for start in range(0, 18, 3)]
    assert [sorted(places) for places in zip(*rounds, strict=True)] == [list("112233")] * 3


def test_one_that_cannot_start_is_named_with_its_reason():
    turns, failed = compete([sleeper(1), sleeper("broken")], steps=1, rounds=1, progress=quiet)
    assert list(turns) == ["1"]
    assert failed == {"broken": "ValueError: no such row"}


def test_a_ratio_is_paired_by_rounds():
    """A machine that is ten times slower in one round changes no ratio of that round."""
    slow = np.array([1, 1, 10, 1, 1, 1, 1])
    found = ratio(list(3.0 * slow), list(2.0 * slow))
    assert (found.median, found.low, found.high, found.rounds) == (1.5, 1.5, 1.5, 7)


@pytest.mark.parametrize("count", [6, 9, 15, 30, 101])
def test_the_interval_covers_the_median_with_95_percent(count):
    """Its ends are order statistics: the chance that the true median lies outside is a binomial tail."""
    found = ratio(list(range(1, count + 1)), [1] * count)
    below = int(found.low) - 1
    assert 2 * binom.cdf(below, count, 0.5) <= 0.05 < 2 * binom.cdf(below + 1, count, 0.5)
    assert found.low + found.high == count + 1
    assert found.median == (count + 1) / 2


def test_few_rounds_give_their_whole_range():
    found = ratio([3.0, 1.0, 2.0], [1.0, 1.0, 1.0])
    assert (found.median, found.low, found.high) == (2.0, 1.0, 3.0)
