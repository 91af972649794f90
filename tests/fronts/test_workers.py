import pytest

from tfqkd.fronts.workers import Workers


class Three(Workers):
    """Three workers of two devices each; the other two say the same."""

    count, _shares = 3, 6

    def __init__(self, is_chief, others):
        self.is_chief, self.others = is_chief, others

    def _sum(self, values):
        return [2 * own + 2 * 2 * other for own, other in zip(values, self.others, strict=True)]


def test_one_worker_agrees_with_itself():
    alone = Workers()
    assert alone.agree((True, False), 7) == (True, False, 7)
    assert alone.any(False) == (False,)
    assert (alone.chief_says(True), alone.chief_says(False)) == (True, False)
    alone.require_same("checkpoints", 1, 2)
    alone.wait()


def test_a_flag_that_any_worker_raises_is_raised_for_all_and_numbers_are_averaged():
    assert Three(True, [1, 0, 10]).agree((False, False), 4) == (True, False, 8)
    assert Three(True, [0, 0, 0]).any(True, False) == (True, False)


@pytest.mark.parametrize(("is_chief", "flag", "said"), [(True, True, True), (False, True, False)])
def test_the_flag_of_the_chief_counts_alone(is_chief, flag, said):
    assert Three(is_chief, [0, 0]).chief_says(flag) is said


def test_workers_that_see_something_else_are_refused():
    Three(True, [3, 0]).require_same("checkpoints", 3, 0)
    with pytest.raises(RuntimeError, match=r"same checkpoints. Received: \(3, 1\) here"):
        Three(True, [3, 0]).require_same("checkpoints", 3, 1)
