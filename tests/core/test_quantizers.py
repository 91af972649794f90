import dataclasses
import json

import numpy as np
import pytest

from tfqkd.compat import tf
from tfqkd.core.activations import ACTIVATION_QUANTIZERS, LsqActivationQuantizer, PactQuantizer
from tfqkd.core.ops import NUMPY
from tfqkd.core.quantizers import (
    QUANTIZERS,
    AbsmeanQuantizer,
    DorefaQuantizer,
    LsqQuantizer,
    TtqQuantizer,
    TwnQuantizer,
    UniformQuantizer,
)
from tfqkd.fronts.tfmot.ops import OPS

from .arrays import upstream

WEIGHTS = {
    "uniform": UniformQuantizer(3, "channel", "every_step"),
    "twn": TwnQuantizer(),
    "absmean": AbsmeanQuantizer(),
    "ttq": TtqQuantizer(),
    "lsq": LsqQuantizer(4, "channel"),
    "dorefa": DorefaQuantizer(3, gradient_bits=6),
}
ACTIVATIONS = {
    "lsq": LsqActivationQuantizer(4, signed=True),
    "pact": PactQuantizer(3, regularization=0.5),
}


@pytest.mark.parametrize("quantizer", [*WEIGHTS.values(), *ACTIVATIONS.values()], ids=repr)
def test_settings_survive_json_and_decide_equality(quantizer):
    classes = QUANTIZERS | ACTIVATION_QUANTIZERS
    config = json.loads(json.dumps(quantizer.get_config()))
    copy = classes[type(quantizer).__name__].from_config(config)
    assert copy == quantizer
    assert len({copy, quantizer}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        quantizer.bits = 5


def test_another_width_keeps_the_other_settings():
    assert WEIGHTS["uniform"].with_bits(2) == UniformQuantizer(2, "channel", "every_step")
    assert WEIGHTS["dorefa"].with_bits(8) == DorefaQuantizer(8, gradient_bits=6)
    assert TwnQuantizer().with_bits(2) == TwnQuantizer()
    assert ACTIVATIONS["pact"].with_bits(8, True) == PactQuantizer(8, True, 0.5)
    for quantizer in (TwnQuantizer(), AbsmeanQuantizer(), TtqQuantizer()):
        with pytest.raises(ValueError, match=r"is ternary: `bits` must be 2\. Received: bits=4"):
            quantizer.with_bits(4)


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_step_computes_in_tensorflow_what_it_computes_in_numpy(name):
    quantizer, weights = WEIGHTS[name], upstream(0, (3, 3, 2, 5))
    state = quantizer.initial_state(weights, (3,))
    assert set(quantizer.learned) <= set(state)
    moved = weights + np.float32(0.1) * upstream(1, weights.shape)
    results = []
    for ops, of in ((NUMPY, np.asarray), (OPS, tf.constant)):
        latent = of(moved)
        now = {key: of(value) for key, value in state.items()}
        now |= quantizer.updated(latent, now, ops)
        value = np.asarray(quantizer.quantize(latent, now, ops))
        assert value.dtype == np.float32
        results.append((value, np.asarray(quantizer.scales(latent, now, ops))))
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
@pytest.mark.parametrize("make", [UniformQuantizer, LsqQuantizer])
def test_a_state_is_shaped_by_the_granularity(make, granularity):
    quantizer, weights = make(3, granularity), upstream(0, (3, 3, 4, 2))
    shapes = {"tensor": [(1, 1, 1, 1)] * 3, "channel": [(1, 1, 1, 2), (1, 1, 1, 2), (1, 1, 4, 2)]}
    states = [quantizer.initial_state(weights, *axes) for axes in ([], [(3,)], [(2, 3)])]
    assert [state["step"].shape for state in states] == shapes[granularity]
    assert all(state["step"].dtype == np.float32 for state in states)


@pytest.mark.parametrize("quantizer", [UniformQuantizer(2), UniformQuantizer(8), LsqQuantizer(2)])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(quantizer, value):
    with pytest.raises(ValueError, match="must be finite"):
        quantizer.initial_state(np.float32([1.0, value, 2.0]))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_lie_on_multiples_of_the_step_within_the_codes(name):
    quantizer, values = ACTIVATIONS[name], 3 * upstream(0, (6, 40))
    scale = np.float32(quantizer.first_value(np.abs(values).mean(), np.abs(values).max()))
    quantized = quantizer.quantize(values, scale, NUMPY)
    codes = np.round(quantized / quantizer.step(scale))
    np.testing.assert_array_equal(quantized, codes * quantizer.step(scale))
    lower, upper = quantizer.code_range()
    assert lower <= codes.min() < codes.max() <= upper
    by_tensorflow = quantizer.quantize(tf.constant(values), tf.constant(scale), OPS)
    np.testing.assert_array_equal(by_tensorflow, quantized)


def test_only_pact_adds_to_the_loss():
    assert ACTIVATIONS["lsq"].penalty(3.0) is None
    assert ACTIVATIONS["pact"].penalty(3.0) == 0.5 * 9


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (UniformQuantizer, {"bits": 1}, "`bits` must be an integer from 2 to 8"),
        (UniformQuantizer, {"granularity": "layer"}, "`granularity` must be one of tensor, chan"),
        (UniformQuantizer, {"step_update": "never"}, "`step_update` must be one of once, every_"),
        (LsqQuantizer, {"bits": 9}, "`bits` must be an integer from 2 to 8"),
        (LsqQuantizer, {"granularity": 2}, "`granularity` must be one of tensor, channel"),
        (DorefaQuantizer, {"gradient_bits": 1}, "`bits` must be an integer from 2 to 8"),
        (LsqActivationQuantizer, {"bits": True}, "`bits` must be an integer from 2 to 8"),
        (PactQuantizer, {"regularization": -1.0}, "`regularization` must be 0 or more"),
    ],
)
def test_bad_settings_are_refused(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)
