"""`DeployScheme`: integers from the image to the logits, in training and in the stripped model."""

import numpy as np
import pytest

import tfqkd
from tfqkd import models
from tfqkd.compat import keras
from tfqkd.core.activations import LsqActivationQuantizer
from tfqkd.fronts.tfmot.layers import ActivationQuantization
from tfqkd.fronts.tfmot.model import quantized_activations, quantized_kernels
from tfqkd.fronts.tfmot.stripping import strip_weights

IMAGES = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def quantized():
    keras.utils.set_random_seed(0)
    model = models.build("resnet8", (8, 8, 3), 4, mean=[120.0, 130.0, 110.0], std=[60.0] * 3)
    quantized = tfqkd.quantize_model(model, tfqkd.DeployScheme())
    tfqkd.calibrate_activations(quantized, IMAGES)
    return quantized


def test_weights_are_ternary_but_in_the_first_and_the_last_layer(quantized):
    bits = {kernel.layer: kernel.quantizer.bits for kernel in quantized_kernels(quantized)}
    assert {layer for layer, width in bits.items() if width == 8} == {"stem_conv", "logits"}
    assert {width for layer, width in bits.items()} == {2, 8}
    (stem,) = [kernel for kernel in quantized_kernels(quantized) if kernel.layer == "stem_conv"]
    step, value = stem.state["step"].numpy(), stem.value().numpy()
    assert step.shape == (1, 1, 1, 16)
    np.testing.assert_array_equal(value, step * np.rint(value / step))
    assert np.abs(np.rint(value / step)).max() == 127


def test_steps_start_where_they_clip_nothing(quantized):
    plain = strip_weights(quantized)
    for found in quantized_activations(quantized):
        probe = keras.Model(plain.inputs, plain.get_layer(found.layer).output)
        largest = np.abs(probe(IMAGES, training=True)).max()
        assert found.step == pytest.approx(largest / found.code_range[1], rel=1e-6)


def test_every_tensor_of_an_integer_file_lies_on_its_step_in_the_stripped_model(quantized):
    stripped = tfqkd.strip_quantization(quantized)
    np.testing.assert_array_equal(stripped(IMAGES), quantized(IMAGES))
    found = [layer for layer in stripped.layers if isinstance(layer, ActivationQuantization)]
    outputs = keras.Model(stripped.inputs, [layer.output for layer in found])(IMAGES)
    for layer, values in zip(found, outputs, strict=True):
        codes = values.numpy() / np.float32(layer.step)
        np.testing.assert_allclose(codes, np.rint(codes), rtol=0, atol=1e-4)
        assert layer.lower <= np.rint(codes).min() <= np.rint(codes).max() <= layer.upper
        assert (layer.lower, layer.upper) in {(0, 255), (-128, 127)}
    assert {layer.name for layer in found} >= {
        "standardization_quantization",
        "stage1_block1_bn2_quantization",
        "pool_quantization",
        "logits_quantization",
    }


def test_all_steps_train():
    keras.utils.set_random_seed(0)
    model = models.build("cnn4", (8, 8, 3), 4, mean=[120.0] * 3, std=[60.0] * 3)
    quantized = tfqkd.quantize_model(model, tfqkd.DeployScheme())
    tfqkd.calibrate_activations(quantized, IMAGES)
    before = {a.layer: a.step for a in quantized_activations(quantized)}
    quantized.compile(keras.optimizers.SGD(0.1), keras.losses.MeanSquaredError())
    quantized.fit(IMAGES, np.ones((16, 4)), batch_size=8, epochs=2, verbose=0)
    after = {a.layer: a.step for a in quantized_activations(quantized)}
    assert set(after) == {"standardization", "relu1", "relu2", "relu3", "pool", "logits"}
    assert all(after[name] != before[name] for name in after)


def test_layers_can_have_bits_of_their_own():
    model = models.build("cnn4", (8, 8, 3), 4)
    quantized = tfqkd.quantize_model(model, tfqkd.DeployScheme(), {"conv2": 4, "logits": 2})
    bits = {kernel.layer: kernel.quantizer.bits for kernel in quantized_kernels(quantized)}
    assert bits == {"conv1": 8, "conv2": 4, "conv3": 2, "logits": 2}


def test_a_step_can_start_at_the_largest_input():
    assert LsqActivationQuantizer(8, start="largest").first_value(1.0, 51.0) == 51.0 / 255
    assert LsqActivationQuantizer(8, signed=True).first_value(1.0, 51.0) == 2 / 127**0.5
    with pytest.raises(ValueError, match="`start` must be one of mean, largest"):
        LsqActivationQuantizer(8, start="median")


@pytest.mark.parametrize("sequential", [False, True])
def test_fixed_roundings_of_a_stripped_model_give_way_to_steps_that_train(sequential):
    layers = [
        keras.layers.Conv2D(4, 3, name="first"),
        keras.layers.BatchNormalization(name="norm"),
        keras.layers.ReLU(name="relu"),
        keras.layers.Conv2D(5, 3, name="middle"),
        keras.layers.GlobalAveragePooling2D(name="pool"),
        keras.layers.Dense(3, name="last"),
    ]
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
    if not sequential:
        model = keras.Model(model.inputs, model.outputs)
    model.get_layer("norm").trainable = False
    scheme = tfqkd.DeployScheme()
    stripped = tfqkd.strip_quantization(tfqkd.quantize_model(model, scheme))
    again = tfqkd.quantize_model(stripped, scheme)
    assert [x.name for x in strip_weights(again).layers] == [x.name for x in model.layers]
    assert not again.get_layer("norm").trainable
    for kernel in quantized_kernels(again):
        value = stripped.get_layer(kernel.layer).kernel
        np.testing.assert_allclose(kernel.value(), value, rtol=1e-6)
    again.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = again.get_layer("first").get_weights()[0]
    again.fit(IMAGES, np.arange(16) % 3, verbose=0)
    assert (again.get_layer("first").get_weights()[0] != before).any()
    with pytest.raises(ValueError, match=r"nothing before them.*layer '.*_quantization'"):
        tfqkd.quantize_model(stripped)
