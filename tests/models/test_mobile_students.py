"""Networks with depthwise convolutions, squeeze and excitation, and hard swish as quantized students."""

import keras as keras3
import numpy as np
import pytest

import tfqkd
from tests.parameters import some
from tfqkd.compat import keras
from tfqkd.export import FORMATS, export
from tfqkd.fronts.keras3 import model as keras3_front
from tfqkd.fronts.tfmot import model as tfmot_front
from tfqkd.models import build
from tfqkd.recipe.recipe import Recipe
from tfqkd.training.quantization import quantization_of

EVERY = some(
    [
        "resnet8_mlperf_0.5",
        "mobilenetv2_0.25",
        "mobilenetv3_small_0.25",
        "mobilenetv3_large_0.25",
        "efficientnet_lite0_0.25",
    ],
    "resnet8_mlperf_0.5",
)
KERNELS = ("Conv2D", "DepthwiseConv2D", "Dense")


def pixels(count):
    return np.random.default_rng(0).uniform(0, 255, (count, 16, 16, 3)).astype("float32")


def student(name):
    keras.utils.set_random_seed(0)
    model = build(name, (16, 16, 3), 4, mean=[120.0] * 3, std=[60.0] * 3)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            # One pass leaves the batch's own statistics behind.
            layer.momentum = 0.0
    model(pixels(16), training=True)
    return model, tfqkd.quantize_model(model, tfqkd.TernaryScheme())


@pytest.mark.parametrize("name", EVERY)
def test_a_ternary_student_trains_and_is_stripped_to_the_same_bits(name):
    model, quantized = student(name)
    inner = [layer.name for layer in model.layers if type(layer).__name__ in KERNELS][1:-1]
    before = {layer: quantized.get_layer(layer).get_weights()[0] for layer in inner}
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    quantized.compile(keras.optimizers.SGD(0.01), loss, run_eagerly=True)
    quantized.fit(pixels(8), np.arange(8) % 4, batch_size=8, verbose=0)
    stripped = tfqkd.strip_quantization(quantized)
    np.testing.assert_array_equal(quantized(pixels(4)), stripped(pixels(4)))
    for layer in inner:
        kernel = stripped.get_layer(layer).get_weights()[0]
        step = np.abs(kernel).max()
        assert set(np.unique(kernel)) <= {-step, 0, step}
        assert (quantized.get_layer(layer).get_weights()[0] != before[layer]).any()


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_a_ternary_student_is_exported_in_every_exact_format(name, tmp_path):
    model, quantized = student(name)
    kernels = [layer.name for layer in model.layers if type(layer).__name__ in KERNELS]
    forms = [form for form in FORMATS.values() if form.tolerance <= 1e-4]
    reports = export(quantized, tmp_path, [form.name for form in forms], images=pixels(4))
    assert "litert-int2" in {form.name for form in forms}
    for form, report in zip(forms, reports, strict=True):
        if form.kernel_bits is not None:
            assert sorted(kernel.layer for kernel in report.quantized) == sorted(kernels[1:-1])
            assert {kernel.bits for kernel in report.quantized} == {form.kernel_bits}
            assert report.float_layers == (kernels[0], kernels[-1])


@pytest.mark.parametrize("kind", ["tf_keras", "keras3"])
def test_a_run_gives_depthwise_layers_bits_of_their_own(kind):
    kerases = {"tf_keras": (keras, tfmot_front), "keras3": (keras3, keras3_front)}
    library, front = kerases[kind]
    model = build("mobilenetv2_0.35", (16, 16, 3), 4, mean=[0.0] * 3, std=[1.0] * 3, keras=library)
    quantization = quantization_of(Recipe(student="mobilenetv2_0.35"))
    bits = front.require_quantizable(model, quantization.scheme, quantization.layers)
    depthwise = {x.name for x in model.layers if isinstance(x, library.layers.DepthwiseConv2D)}
    assert len(depthwise) == 17
    assert {name for name, (width, _) in bits.items() if width == 8} == depthwise
    assert {width for name, (width, _) in bits.items() if name not in depthwise} == {2}
