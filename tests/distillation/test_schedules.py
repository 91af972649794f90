import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfqkd.distillation import schedules

UNIT = st.floats(0, 1)
VALUES = st.floats(0, 1)


@pytest.mark.parametrize(
    ("schedule", "first", "middle", "last"),
    [
        (schedules.Constant(0.3), 0.3, 0.3, 0.3),
        (schedules.Linear(1.0), 1.0, 0.5, 0.0),
        (schedules.Linear(0.2, 0.8), 0.2, 0.5, 0.8),
        (schedules.Cosine(1.0), 1.0, 0.5, 0.0),
        (schedules.Cosine(4.0, 2.0), 4.0, 3.0, 2.0),
        (schedules.Exponential(8.0, 2.0), 8.0, 4.0, 2.0),
        (schedules.Exponential(0.01, 1.0), 0.01, 0.1, 1.0),
        (schedules.Step(1.0, (0.5,)), 1.0, 0.1, 0.1),
        (schedules.Step(1.0, (0.25, 0.75), factor=0.5), 1.0, 0.5, 0.25),
        (schedules.Step(0.7, ()), 0.7, 0.7, 0.7),
    ],
)
def test_values_at_the_start_the_middle_and_the_end(schedule, first, middle, last):
    assert [schedule(p) for p in (0.0, 0.5, 1.0)] == pytest.approx([first, middle, last], abs=1e-12)


@given(UNIT)
def test_a_cosine_is_half_a_period(progress):
    expected = 0.5 + 0.5 * math.cos(math.pi * progress)
    assert schedules.Cosine(1.0, 0.0)(progress) == pytest.approx(expected, abs=1e-12)


@given(st.floats(0.01, 10), st.floats(0.01, 10), UNIT)
def test_an_exponential_is_a_line_in_the_logarithm(start, end, progress):
    expected = (1 - progress) * math.log(start) + progress * math.log(end)
    assert math.log(schedules.Exponential(start, end)(progress)) == pytest.approx(
        expected, abs=1e-9
    )


@given(VALUES, VALUES, UNIT)
def test_values_stay_between_start_and_end(start, end, progress):
    for kind in (schedules.Linear, schedules.Cosine):
        value = kind(start, end)(progress)
        assert min(start, end) - 1e-12 <= value <= max(start, end) + 1e-12


@given(st.integers(2, 400), st.data())
def test_a_step_falls_at_the_epochs_where_the_learning_rate_does(epochs, data):
    """The rate drops when epoch e of E reaches m·E; the schedule sees progress e/(E-1) alone."""
    drops = data.draw(st.sets(st.integers(1, epochs - 1), min_size=1, max_size=3).map(sorted))
    schedule = schedules.Step(1.0, tuple(drop / epochs for drop in drops))
    for epoch in range(epochs):
        expected = 0.1 ** sum(epoch >= drop for drop in drops)
        assert schedule(epoch / (epochs - 1)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "milestones", [(0.0,), (1.0,), (-0.1,), (0.5, 0.5), (0.6, 0.3), (0.5, 1.5)]
)
def test_milestones_that_do_not_rise_within_the_training_are_refused(milestones):
    with pytest.raises(ValueError, match=r"`milestones` must rise within \(0, 1\).*Received: "):
        schedules.Step(1.0, milestones)


@pytest.mark.parametrize(("start", "end"), [(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0)])
def test_an_exponential_from_or_to_zero_is_refused(start, end):
    with pytest.raises(ValueError, match=r"must start and end above zero\. Received: start="):
        schedules.Exponential(start, end)
