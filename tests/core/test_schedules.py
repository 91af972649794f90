import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfqkd.core.schedulers import GradualSoftLossReducing
from tfqkd.core.schedules import (
    Constant,
    Cosine,
    Exponential,
    Linear,
    Step,
    from_settings,
    settings,
)


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        (Constant(0.3), (0.3, 0.3, 0.3)),
        (Linear(0.8, 0.2), (0.8, 0.5, 0.2)),
        (Cosine(0.8, 0.2), (0.8, 0.5, 0.2)),
        (Exponential(1.0, 0.01), (1.0, 0.1, 0.01)),
        (Step(1.0, (0.5, 0.75), 0.1), (1.0, 0.1, 0.01)),
        (GradualSoftLossReducing(0.9).schedule, (0.9, 0.45, 0.0)),
    ],
)
def test_values_at_the_start_the_middle_and_the_end(schedule, values):
    assert [schedule(p) for p in (0.0, 0.5, 1.0)] == pytest.approx(values)


def test_a_cosine_falls_slowly_at_both_ends():
    assert Cosine(1.0)(0.25) == pytest.approx((1 + math.sqrt(0.5)) / 2)


@given(st.integers(2, 300), st.data())
def test_a_step_by_epoch_falls_at_the_epoch_where_the_learning_rate_does(epochs, data):
    milestone = data.draw(st.integers(1, epochs - 1))
    schedule = Step(1.0, (milestone / epochs,), 0.5)
    values = [schedule(epoch / (epochs - 1)) for epoch in range(epochs)]
    assert values == [1.0] * milestone + [0.5] * (epochs - milestone)


@pytest.mark.parametrize("ends", [(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0)])
def test_an_exponential_that_touches_zero_is_refused(ends):
    with pytest.raises(ValueError, match="start and end above zero"):
        Exponential(*ends)


@pytest.mark.parametrize("milestones", [(0.0,), (1.0,), (0.5, 0.25), (0.5, 0.5)])
def test_milestones_that_do_not_rise_within_the_training_are_refused(milestones):
    with pytest.raises(ValueError, match="must rise within"):
        Step(1.0, milestones)


SCHEDULES = [
    Constant(0.3),
    Linear(0.8, 0.2),
    Cosine(0.8, 0.2),
    Exponential(1.0, 0.01),
    Step(1.0, (0.5, 0.75), 0.1),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: type(schedule).__name__)
def test_settings_through_json_make_the_same_schedule(schedule):
    assert from_settings(json.loads(json.dumps(settings(schedule)))) == schedule


def test_settings_are_the_name_and_the_arguments():
    assert settings(Linear(0.8)) == {"name": "Linear", "start": 0.8, "end": 0.0}


class Own(Linear):
    pass


@pytest.mark.parametrize("schedule", [lambda progress: progress, Own(1.0)])
def test_a_schedule_of_the_users_own_has_no_settings(schedule):
    with pytest.raises(TypeError, match=r"Only the schedules Constant, Linear.*Received"):
        settings(schedule)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"start": 1.0}, r"must name one of the schedules Constant.*Received"),
        ({"name": "Square", "start": 1.0}, "must name one of the schedules"),
        ({"name": "Linear", "start": 1.0, "slope": 2.0}, "of Linear must be its arguments.*slope"),
        ({"name": "Linear"}, "of Linear must be its arguments.*start"),
    ],
)
def test_settings_of_no_schedule_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        from_settings(given)
