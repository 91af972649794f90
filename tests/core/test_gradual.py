import json

import numpy as np
import pytest

from tfqkd.core import steps, uniform
from tfqkd.core.gradual import GradualQuantizer
from tfqkd.core.ops import NUMPY
from tfqkd.core.quantizers import LsqQuantizer, TtqQuantizer, UniformQuantizer
from tfqkd.core.serialization import deserialized, serialized

from .arrays import upstream

WEIGHTS = upstream(0, (6, 5))
WIDER = GradualQuantizer(UniformQuantizer(2, "channel", "every_step"), wider=(8, 4))
BY_SHARE = GradualQuantizer(UniformQuantizer(2), by_share=True)


def best(weights, bits):
    step = steps.optimal_step(weights, bits, (1,))
    return uniform.quantize(weights, step, bits, NUMPY)


def test_each_width_has_the_optimal_step_of_the_weights_when_its_turn_comes():
    state = WIDER.initial_state(WEIGHTS, (1,))
    assert state["8bit_step"].shape == (1, 5)
    np.testing.assert_array_equal(WIDER.quantize(WEIGHTS, state, NUMPY), best(WEIGHTS, 8))
    moved = WEIGHTS + np.float32(0.1) * upstream(1, WEIGHTS.shape)
    for index, bits in ((1, 4), (2, 2)):
        state |= WIDER.at_width(index, moved, state)
        assert WIDER.at_width(index, moved, state) == {}
        np.testing.assert_array_equal(WIDER.quantize(moved, state, NUMPY), best(moved, bits))
        np.testing.assert_array_equal(WIDER.scales(moved, state, NUMPY), state[f"{bits}bit_step"])


def test_only_the_step_of_the_present_width_follows_the_weights():
    state = WIDER.initial_state(WEIGHTS, (1,))
    state |= WIDER.at_width(2, WEIGHTS, state)
    moved = WEIGHTS + np.float32(0.1) * upstream(1, WEIGHTS.shape)
    updated = WIDER.updated(moved, state, NUMPY)
    assert set(updated) == set(WIDER.followed) == {"8bit_step", "4bit_step", "2bit_step"}
    np.testing.assert_array_equal(updated["2bit_step"], steps.optimal_step(moved, 2, (1,)))
    for key in ("8bit_step", "4bit_step"):
        np.testing.assert_array_equal(updated[key], state[key])


def test_a_growing_share_of_the_largest_weights_rests():
    state = BY_SHARE.initial_state(WEIGHTS)
    np.testing.assert_array_equal(BY_SHARE.quantize(WEIGHTS, state, NUMPY), WEIGHTS)
    state |= BY_SHARE.at_share(0.5, WEIGHTS, state)
    assert BY_SHARE.at_share(0.5, WEIGHTS, state) == {}
    largest = np.abs(WEIGHTS) >= np.median(np.abs(WEIGHTS))
    np.testing.assert_array_equal(state["mask"] > 0, largest)

    moved = WEIGHTS + 1
    restored = BY_SHARE.restored(moved, state, NUMPY)
    np.testing.assert_array_equal(restored, np.where(largest, WEIGHTS, moved))
    ternary = uniform.quantize(WEIGHTS, state["2bit_step"], 2, NUMPY)
    value = BY_SHARE.quantize(moved, state, NUMPY)
    np.testing.assert_array_equal(value, np.where(largest, ternary, moved))

    state |= BY_SHARE.at_share(0.8, restored, state)
    assert state["mask"].sum() == 24
    assert (state["mask"][largest] > 0).all()
    state |= BY_SHARE.at_share(1.0, restored, state)
    np.testing.assert_array_equal(BY_SHARE.restored(moved, state, NUMPY), moved)
    everywhere = uniform.quantize(moved, state["2bit_step"], 2, NUMPY)
    np.testing.assert_array_equal(BY_SHARE.quantize(moved, state, NUMPY), everywhere)


def test_what_the_widths_learn_is_named():
    gradual = GradualQuantizer(LsqQuantizer(3), wider=(6,))
    assert gradual.learned == ("6bit_step", "3bit_step")
    assert gradual.followed == ()
    assert set(gradual.initial_state(WEIGHTS)) == {"6bit_step", "3bit_step", "width"}
    assert GradualQuantizer(TtqQuantizer(), by_share=True).learned == (
        "2bit_positive",
        "2bit_negative",
    )


@pytest.mark.parametrize("gradual", [WIDER, BY_SHARE], ids=["wider", "share"])
def test_settings_survive_json(gradual):
    copy = deserialized(json.loads(json.dumps(serialized(gradual))))
    assert copy == gradual
    assert hash(copy) == hash(gradual)


def test_an_unknown_quantizer_is_refused():
    with pytest.raises(
        ValueError, match=r"A quantizer must be one of UniformQuantizer, .*Received"
    ):
        deserialized({"quantizer": "OtherQuantizer", "settings": {}})


@pytest.mark.parametrize("wider", [(2,), (4, 8), (4, 4), (1,)])
def test_widths_that_do_not_fall_are_refused(wider):
    with pytest.raises(ValueError, match="`wider` must fall towards the quantizer's 2 bits"):
        GradualQuantizer(UniformQuantizer(2), wider=wider)
