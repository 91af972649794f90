"""Every kind of layer with every weight quantizer: what a layer computes with is its quantized kernels."""

import numpy as np
import pytest

from tests.core import reference
from tfqkd.compat import keras
from tfqkd.core.activations import LsqActivationQuantizer
from tfqkd.core.quantizers import (
    DorefaQuantizer,
    LsqQuantizer,
    TtqQuantizer,
    TwnQuantizer,
    UniformQuantizer,
)
from tfqkd.core.schemes import Scheme
from tfqkd.fronts.tfmot.calibration import calibrate_activations
from tfqkd.fronts.tfmot.model import quantize_model, quantized_kernels
from tfqkd.fronts.tfmot.stripping import strip_quantization
from tfqkd.fronts.tfmot.summary import quantization_summary

layers = keras.layers

CASES = {
    "separable2d": (lambda: layers.SeparableConv2D(4, 3, depth_multiplier=2), (8, 8, 4), 2),
    "separable1d": (lambda: layers.SeparableConv1D(4, 3), (8, 4), 2),
    "grouped": (lambda: layers.Conv2D(4, 3, groups=2), (8, 8, 4), 1),
    "dilated": (lambda: layers.Conv2D(4, 3, dilation_rate=2), (8, 8, 4), 1),
    "depthwise1d": (lambda: layers.DepthwiseConv1D(3, depth_multiplier=2), (8, 4), 1),
    "transposed": (lambda: layers.Conv2DTranspose(3, 3), (8, 8, 4), 1),
}
AXES = {
    "separable2d": {"depthwise_kernel": (2, 3), "pointwise_kernel": (3,)},
    "separable1d": {"depthwise_kernel": (1, 2), "pointwise_kernel": (2,)},
    "grouped": {"kernel": (3,)},
    "dilated": {"kernel": (3,)},
    "depthwise1d": {"depthwise_kernel": (1, 2)},
    "transposed": {"kernel": (2,)},
}


def model_of(case):
    make, shape, _ = CASES[case]
    keras.utils.set_random_seed(0)
    layer = make()
    layer._name = "inner"
    return keras.Sequential(
        [
            keras.Input(shape),
            layers.ReLU(name="relu"),
            layer,
            layers.Flatten(),
            layers.Dense(2, name="head"),
        ]
    )


@pytest.mark.parametrize("case", CASES)
def test_each_kernel_has_the_steps_of_its_channels(case):
    model = model_of(case)
    quantized = quantize_model(model, Scheme(UniformQuantizer(4, "channel")), layers="inner")
    plain = keras.models.clone_model(model)
    plain.set_weights(model.get_weights())
    found = {kernel.attribute: kernel for kernel in quantized_kernels(quantized)}
    assert set(found) == set(AXES[case])
    for attribute, axes in AXES[case].items():
        kernel = getattr(plain.get_layer("inner"), attribute)
        kernel.assign(reference.quantized(kernel.numpy(), 4, axes))
    data = np.random.default_rng(0).normal(size=(2, *CASES[case][1])).astype(np.float32)
    np.testing.assert_allclose(quantized(data), plain(data), rtol=1e-4, atol=1e-5)


QUANTIZERS = {
    "uniform": UniformQuantizer(3, "channel", "every_step"),
    "twn": TwnQuantizer(),
    "ttq": TtqQuantizer(),
    "lsq": LsqQuantizer(3, "channel"),
    "dorefa": DorefaQuantizer(3),
}
DEFAULT = (("separable2d", "ttq"), ("grouped", "dorefa"))


@pytest.mark.parametrize(
    ("case", "name"),
    [
        pytest.param(case, name, marks=() if (case, name) in DEFAULT else pytest.mark.slow)
        for case in CASES
        for name in QUANTIZERS
    ],
)
def test_it_trains_and_is_stripped_to_the_same_bits(case, name):
    scheme = Scheme(QUANTIZERS[name], LsqActivationQuantizer(4))
    quantized = quantize_model(model_of(case), scheme, layers="inner|head")
    data = np.random.default_rng(0).normal(size=(4, *CASES[case][1])).astype(np.float32)
    calibrate_activations(quantized, data)
    before = [kernel.latent.numpy() for kernel in quantized_kernels(quantized)]
    quantized.compile(keras.optimizers.SGD(0.01), "mse")
    quantized.fit(data, np.ones((4, 2)), verbose=0)
    assert len(before) == CASES[case][2] + 1
    for kernel, first in zip(quantized_kernels(quantized), before, strict=True):
        assert np.abs(kernel.latent.numpy() - first).max() > 0
    np.testing.assert_array_equal(quantized(data), strip_quantization(quantized)(data))


def test_the_summary_names_both_kernels_of_a_separable_convolution():
    summary = quantization_summary(quantize_model(model_of("separable2d"), layers="inner"), None)
    names = [(row.layer, row.shape) for row in summary.layers]
    assert names == [
        ("inner.depthwise_kernel", (3, 3, 4, 2)),
        ("inner.pointwise_kernel", (1, 1, 8, 4)),
        ("head", (144, 2)),
    ]
    assert summary.float_bytes == 4 * model_of("separable2d").count_params()
