import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfqkd.distillation.callbacks import GradualSoftLossReducing
from tfqkd.distillation.schedules import Constant, Cosine, Exponential, Linear, Step


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
