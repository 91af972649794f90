"""Layers that compute in a dtype of their own, whatever the global policy is."""

import numpy as np
import pytest

from tests.core import reference
from tfqkd.compat import keras
from tfqkd.fronts.tfmot.model import quantize_model
from tfqkd.fronts.tfmot.stripping import strip_quantization

layers = keras.layers
IMAGES = np.random.default_rng(0).normal(size=(3, 6, 6, 2)).astype(np.float32)


@pytest.fixture
def global_policy():
    yield keras.mixed_precision.set_global_policy
    keras.mixed_precision.set_global_policy("float32")


def network(dtype):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(3, 3, dtype=dtype, name="first")(inputs)
    x = layers.DepthwiseConv2D(2, dtype=dtype, name="second")(x)
    x = layers.Flatten(dtype=dtype)(x)
    return keras.Model(inputs, layers.Dense(4, dtype=dtype, name="third")(x))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_float32_layers_stay_float32_under_a_mixed_policy(policy, global_policy):
    expected = network("float32")
    for name in ("first", "second", "third"):
        kernel = expected.get_layer(name).weights[0]
        kernel.assign(reference.quantized(kernel.numpy(), 2))
    global_policy(policy)
    quantized = quantize_model(network("float32"), layers=".*")
    # A cast to 16 bits on the way would cost 1e-3.
    np.testing.assert_allclose(quantized(IMAGES), expected(IMAGES), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(quantized(IMAGES), strip_quantization(quantized)(IMAGES))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_layers_stay_mixed_under_the_float32_policy(policy, global_policy):
    quantized = quantize_model(network(policy), layers=".*")
    stripped = strip_quantization(quantized)
    np.testing.assert_array_equal(quantized(IMAGES), stripped(IMAGES))
    global_policy(policy)
    same = quantize_model(network(None), layers=".*")
    np.testing.assert_array_equal(quantized(IMAGES), same(IMAGES))
    assert quantized(IMAGES).dtype == same(IMAGES).dtype == policy.removeprefix("mixed_")
