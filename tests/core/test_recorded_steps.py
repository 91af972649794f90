"""The steps are those that TensorFlow took when the arithmetic still was TensorFlow's, recorded then."""

import json
from pathlib import Path

import numpy as np
import pytest

from tfqkd.core import steps, ternary, uniform
from tfqkd.core.ops import NUMPY

from .cases import KINDS, SHAPES, cases, weights

RECORDED = json.loads((Path(__file__).parent / "recorded_steps.json").read_text())


def recorded(group, name):
    return np.float32([float.fromhex(number) for number in RECORDED[group][name].split()])


@pytest.fixture(scope="module")
def optimal():
    return {name: steps.optimal_step(drawn, bits, axes) for name, drawn, bits, axes in cases()}


def test_optimal_steps_have_the_same_bits(optimal):
    assert list(optimal) == list(RECORDED["optimal"])
    for name, step in optimal.items():
        np.testing.assert_array_equal(step.ravel(), recorded("optimal", name), err_msg=name)


def test_steps_that_follow_agree(optimal):
    """Ternary ones to the bit; sums of float32 products as closely as the order of adding allows."""
    for name, drawn, bits, _ in cases():
        moved = drawn + np.float32(0.01) * np.roll(drawn, 1)
        step = uniform.follow_step(moved, optimal[name], bits, NUMPY).ravel()
        expected = recorded("followed", name)
        if bits == 2:
            np.testing.assert_array_equal(step, expected, err_msg=name)
        else:
            np.testing.assert_allclose(step, expected, rtol=2e-6, err_msg=name)


def test_first_learned_steps_agree():
    """To the order of adding in float32; here the sum is float64."""
    for name, drawn, bits, axes in cases():
        step = steps.lsq_step(drawn, steps.largest_code(bits), axes)
        np.testing.assert_allclose(step.ravel(), recorded("first", name), rtol=2e-6, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_ternary_thresholds_and_scales_agree(kind):
    for index, (name, (shape, _)) in enumerate(SHAPES.items()):
        drawn = weights(kind, shape, KINDS.index(kind) * len(SHAPES) + index)
        threshold = ternary.twn_threshold(drawn, NUMPY)
        actual = [
            threshold,
            ternary.twn_scale(drawn, threshold, NUMPY),
            ternary.ttq_threshold(drawn, NUMPY),
            *steps.ttq_scales(drawn),
        ]
        expected = recorded("ternary", f"{kind}/{name}")
        np.testing.assert_allclose(actual, expected, rtol=2e-6, err_msg=name)
