"""A model trained on any backend becomes files, in a process of its own where TensorFlow is."""

import sys

import keras
import numpy as np
import pytest
from keras import layers

import tfqkd
from tests.fronts.keras3.inside.nets import BACKEND, cross_entropy


def network():
    """A nested base with operations round it, on images of 0 to 255."""
    inside = keras.Input((8, 8, 3), name="inside")
    x = layers.Conv2D(6, 3, padding="same", name="conv")(inside)
    x = layers.LeakyReLU(negative_slope=0.1)(layers.BatchNormalization()(x))
    base = keras.Model(inside, x, name="base")
    inputs = keras.Input((8, 8, 3), name="pixels")
    x = layers.Conv2D(3, 3, padding="same", name="first")(inputs / 127.5 - 1.0)
    x = base(x)
    x = x + 0.5 * layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = layers.GlobalAveragePooling2D()(layers.SeparableConv2D(5, 3, name="separable")(x))
    return keras.Model(inputs, layers.Dense(3, name="logits")(x), name="network")


@pytest.mark.slow
def test_a_distilled_student_becomes_two_bit_files(tmp_path):
    keras.utils.set_random_seed(1)
    random = np.random.default_rng(0)
    images, labels = (
        random.integers(0, 256, (16, 8, 8, 3)).astype("float32"),
        random.integers(0, 3, 16),
    )
    model = network()
    student = tfqkd.quantize_model(model)
    distiller = tfqkd.Distiller(student=student, teacher=model)
    distiller.compile("sgd", cross_entropy())
    distiller.fit(images, labels, batch_size=8, verbose=0)
    formats = "litert-int2" if BACKEND == "tensorflow" else "litert-int2,onnx-int2"
    reports = tfqkd.export.export(student, tmp_path, formats, images=images, class_names="abc")
    for report in reports:
        assert report.agreement == 1.0
        if "int2" in report.format:
            codes = [(kernel.layer, kernel.bits) for kernel in report.quantized]
            names = ["base/conv", "depthwise", "separable", "separable"]
            assert codes == [(name, 2) for name in names]
    (file,) = tmp_path.glob("*.tflite")
    run = tfqkd.export.load(file)
    expected = tfqkd.strip_quantization(student).predict(images, verbose=0)
    np.testing.assert_allclose(run(images), expected, rtol=1e-4, atol=1e-5)
    if BACKEND != "tensorflow":
        assert "tf_keras" not in sys.modules


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="Twins of all backends are alike.")
def test_trained_steps_become_files_of_integers(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 3)).astype("float32")
    model = tfqkd.models.build(
        "resnet8", (8, 8, 3), 4, mean=[128.0] * 3, std=[60.0] * 3, keras=keras
    )
    quantized = tfqkd.quantize_model(model, tfqkd.DeployScheme())
    tfqkd.keras3.calibrate_activations(quantized, [images])
    report = tfqkd.export.to_litert(
        quantized, tmp_path / "a.tflite", format="litert-w2a8", images=images
    )
    codes = {kernel.layer: kernel.max_code for kernel in report.quantized}
    assert codes.pop("stem_conv") > 64 and codes.pop("logits") > 64
    assert set(codes.values()) == {1} and report.agreement > 0.9


def test_a_layer_without_a_twin_is_told_before_a_training():
    inputs = keras.Input((8, 8, 3))
    x = layers.Reshape((16, 12))(layers.Conv2D(3, 3, padding="same")(inputs))
    x = layers.Attention(name="dots")([x, x])
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))
    with pytest.raises(ValueError, match="Attention 'dots'"):
        tfqkd.export.require_twin(tfqkd.quantize_model(model, layers=".*"))
    with pytest.raises(ValueError, match="Attention 'dots'"):
        tfqkd.export.to_litert(model, "model.tflite")


@pytest.mark.slow
def test_a_setting_without_a_twin_is_told_before_a_training_if_asked():
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, activation="hard_sigmoid", name="hard")]
    )
    tfqkd.export.require_twin(model)
    with pytest.raises(ValueError, match="Dense 'hard' with activation='hard_sigmoid'"):
        tfqkd.export.require_twin(model, settings=True)


@pytest.mark.slow
def test_a_mobilenet_within_a_model_is_fine_tuned_to_a_two_bit_file(tmp_path):
    keras.utils.set_random_seed(2)
    base = keras.applications.MobileNetV2((32, 32, 3), 0.35, include_top=False, weights=None)
    base.get_layer("Conv1").trainable = False
    inputs = keras.Input((32, 32, 3), name="pixels")
    x = layers.GlobalAveragePooling2D()(base(layers.Rescaling(1 / 127.5, -1.0)(inputs)))
    model = keras.Model(inputs, layers.Dense(3, name="logits")(x))
    student = tfqkd.quantize_model(model)
    random = np.random.default_rng(0)
    images, labels = (
        random.integers(0, 256, (8, 32, 32, 3)).astype("float32"),
        random.integers(0, 3, 8),
    )
    frozen = model.get_layer(base.name).get_layer("Conv1").get_weights()
    student.compile("sgd", cross_entropy())
    student.fit(images, labels, batch_size=8, verbose=0)
    kept = student.get_layer(base.name).get_layer("Conv1").get_weights()
    np.testing.assert_array_equal(kept[0], frozen[0])
    report = tfqkd.export.to_litert(student, tmp_path / "student.tflite", images=images)
    assert len([kernel for kernel in report.quantized if kernel.bits == 2]) >= 45
    expected = tfqkd.strip_quantization(student).predict(images, verbose=0)
    found = tfqkd.export.load(tmp_path / "student.tflite")(images)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
