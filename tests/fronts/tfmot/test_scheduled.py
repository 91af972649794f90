import numpy as np

from tfqkd.compat import tf
from tfqkd.fronts.tfmot.scheduled import ScheduledVariable


def advanced(scheduled, steps):
    """What each optimizer step gets, in one graph that is traced once."""
    advance = tf.function(scheduled.advance)
    values = [advance(tf.constant(step, tf.int64)).numpy() for step in steps]
    assert advance.experimental_get_tracing_count() == 1
    assert scheduled.value.numpy() == values[-1]
    return values


def test_a_table_gives_each_step_its_value_and_the_last_one_stays():
    scheduled = ScheduledVariable("coefficient", 0.5)
    scheduled.follow([1.0, 0.75, 0.25], first_step=10)
    np.testing.assert_array_equal(
        advanced(scheduled, range(10, 16)), [1, 0.75, 0.25, 0.25, 0.25, 0.25]
    )


def test_without_a_table_the_assigned_value_stays():
    scheduled = ScheduledVariable("coefficient", 0.5)
    assert advanced(scheduled, [0, 1, 1000]) == [0.5, 0.5, 0.5]
    scheduled.value.assign(0.125)
    assert advanced(scheduled, [0, 7]) == [0.125, 0.125]


def test_a_new_table_and_its_end_trace_nothing():
    scheduled = ScheduledVariable("coefficient", 0.5)
    advance = tf.function(scheduled.advance)
    step = tf.constant(1, tf.int64)
    scheduled.follow([0.25, 0.75])
    assert advance(step).numpy() == 0.75
    scheduled.follow([0.0, 0.125, 1.0, 1.0])
    assert advance(step).numpy() == 0.125
    scheduled.hold()
    assert advance(step).numpy() == 0.125
    assert advance.experimental_get_tracing_count() == 1


def test_a_table_may_begin_before_the_first_step():
    """A run that goes on at a later epoch with a fresh optimizer."""
    scheduled = ScheduledVariable("coefficient", 0.5)
    scheduled.follow([1.0, 0.75, 0.5, 0.25], first_step=-2)
    assert advanced(scheduled, [0, 1]) == [0.5, 0.25]
