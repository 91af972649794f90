import pytest

from tfqkd.core.schedulers import (
    CoefficientScheduler,
    GradualSoftLossReducing,
    Plan,
    TemperatureScheduler,
)
from tfqkd.core.schedules import Constant, Linear, Step


def test_a_plan_has_a_value_for_each_epoch_or_each_step():
    schedule = Linear(1.0, 0.0)
    assert CoefficientScheduler(schedule).plan(3, None) == Plan([1.0, 0.5, 0.0], by_step=False)
    by_step = CoefficientScheduler(schedule, on="step").plan(2, 2)
    assert by_step.values == pytest.approx([1, 2 / 3, 1 / 3, 0])
    assert by_step.by_step


@pytest.mark.parametrize("on", ["epoch", "step"])
def test_a_milestone_inside_an_epoch_makes_a_plan_by_step(on):
    plan = TemperatureScheduler(Step(4.0, (0.25,), 0.5), on=on).plan(2, 4)
    assert plan == Plan([4.0] * 2 + [2.0] * 6, by_step=True)
    between = TemperatureScheduler(Step(4.0, (0.5,), 0.5)).plan(2, 4)
    assert between == Plan([4.0, 2.0], by_step=False)


@pytest.mark.parametrize(
    "scheduler",
    [CoefficientScheduler(Linear(1.0), on="step"), CoefficientScheduler(Step(0.8, (0.3,)))],
)
def test_a_plan_by_step_needs_the_number_of_steps(scheduler):
    with pytest.raises(ValueError, match=r"needs the number of steps.*Pass `steps_per_epoch`"):
        scheduler.plan(2, None)


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [
        (CoefficientScheduler(Linear(1.0, -0.5)), r"in \[0, 1\] .*Received: -0.5"),
        (CoefficientScheduler(Constant(float("nan"))), "Received: nan"),
        (TemperatureScheduler(Linear(2.0, 0.0)), "above 0 and finite .*Received: 0.0"),
        (TemperatureScheduler(Constant(float("inf"))), "Received: inf"),
    ],
)
def test_a_value_out_of_range_is_refused_by_the_plan(scheduler, message):
    with pytest.raises(ValueError, match=message):
        scheduler.plan(2, 3)


def test_the_papers_scheduler_falls_on_a_line_to_zero():
    assert GradualSoftLossReducing(0.8).plan(3, 7) == Plan([0.8, 0.4, 0.0], by_step=False)


def test_schedulers_are_settings_and_equal_where_these_are():
    assert CoefficientScheduler(Linear(1.0)) == CoefficientScheduler(Linear(1.0, 0.0), "epoch", 0)
    assert CoefficientScheduler(Linear(1.0)) != TemperatureScheduler(Linear(1.0))
    assert CoefficientScheduler.setting == "coefficient"
    assert TemperatureScheduler.setting == "temperature"


def test_a_callback_list_of_any_keras_is_told_where_a_scheduler_belongs():
    with pytest.raises(TypeError, match=r"needs a tfqkd\.Distiller.*Received: <class 'object'>"):
        CoefficientScheduler(Linear(1.0)).set_model(object())
