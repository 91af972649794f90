"""Files with codes of 2 and 4 bits."""

import subprocess
import sys

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

import tfqkd
from tfqkd.compat import keras, tf
from tfqkd.core.quantizers import UniformQuantizer
from tfqkd.export import ExportError, export, load, tflite, to_litert
from tfqkd.export.measure import measure

from . import classifier

_BITS = {"depthwise": 2, "ternary": 2, "three_bit": 4, "four_bit": 4, "hidden": 8}


def one_layer(kernel: np.ndarray) -> keras.Model:
    """A dense layer of 12 pixels with this kernel."""
    dense = keras.layers.Dense(kernel.shape[1], use_bias=False, name="dense")
    model = keras.Sequential([keras.Input((2, 2, 3)), keras.layers.Flatten(), dense])
    dense.kernel.assign(kernel)
    return model


def test_each_kernel_takes_the_fewest_bits_that_hold_its_codes(exported):
    report = exported.reports["litert-int2"]
    assert {kernel.layer: kernel.bits for kernel in report.quantized} == _BITS
    graph = tflite.read((exported.directory / "student-int2.tflite").read_bytes()).subgraphs[0]
    types = [tensor.type for tensor in graph.tensors]
    for bits, type_ in tflite.CODE_TYPES.items():
        assert types.count(type_) == list(_BITS.values()).count(bits)


@pytest.mark.usefixtures("in_this_process")
def test_the_lowest_codes_take_no_more_bits_and_are_computed_exactly(tmp_path):
    generator, layers = np.random.default_rng(0), keras.layers
    convs = {bits: layers.Conv2D(4, 3, use_bias=False, name=f"of_{bits}") for bits in (2, 4, 8)}
    model = keras.Sequential([keras.Input((9, 9, 3)), *convs.values(), layers.GlobalAvgPool2D()])
    for bits, conv in convs.items():
        codes = generator.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), conv.kernel.shape)
        codes[0, 0, :2] = [[-(2 ** (bits - 1))], [1]]
        conv.kernel.assign(codes / 2**bits)
    images = generator.integers(0, 256, (3, 9, 9, 3), np.uint8)
    expected = model(images.astype(np.float32)).numpy()
    for report in export(model, tmp_path, "litert-int2,onnx-int2", images=images):
        found = {kernel.layer: (kernel.bits, kernel.max_code) for kernel in report.quantized}
        assert found == {"of_2": (2, 2), "of_4": (4, 8), "of_8": (8, 128)}
        for direct in (True, False):
            logits = load(report.path, direct=direct)(images)
            np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("count", [1, 7])
def test_logits_equal_keras_as_it_is_and_expanded(exported, direct, count):
    images = classifier.pixels(count)
    model = load(exported.reports["litert-int2"].path, direct=direct)
    np.testing.assert_allclose(model(images), exported.model(images), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["litert-float32", "litert-int8", "litert-int2"])
def test_a_plain_interpreter_runs_the_file_as_it_is(exported, name):
    images = classifier.pixels(3)
    expected = exported.model(images).numpy()
    interpreter = Interpreter(exported.reports[name].path)
    logits = interpreter.get_signature_runner()(images=images)["logits"]
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)
    # By number, as with the C API of TensorFlow Lite, which knows no signatures.
    (input_,), (output,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(input_["index"], images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(input_["index"], images)
    interpreter.invoke()
    logits = interpreter.get_tensor(output["index"])
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)


_C_API = """
import sys, numpy as np
from ai_edge_litert.compiled_model import CompiledModel
images = np.load(sys.argv[1])
for path in sys.argv[2:]:
    model = CompiledModel.from_file(path)
    model.resize_input_tensor(0, images.shape)
    (input_,), (output,) = model.create_input_buffers(0), model.create_output_buffers(0)
    input_.write(images)
    model.run_by_index(0, [input_], [output])
    print(*output.read(len(images) * 5, np.float32))
"""


def test_the_compiled_model_of_litert_s_c_api_runs_the_files_as_they_are(exported, tmp_path):
    images = classifier.pixels(3)
    np.save(tmp_path / "images.npy", images)
    names = ("litert-float32", "litert-int8", "litert-int2")
    paths = [exported.reports[name].path for name in names]
    # A process of its own: it loads accelerators, and says so.
    command = [sys.executable, "-c", _C_API, str(tmp_path / "images.npy"), *paths]
    child = subprocess.run(command, capture_output=True, text=True, check=True)
    for line in child.stdout.splitlines():
        logits = np.array(line.split(), np.float32).reshape(3, classifier.CLASSES)
        np.testing.assert_allclose(logits, exported.model(images), rtol=0, atol=1e-4)
    assert len(child.stdout.splitlines()) == 3


def resnet20(classes=10):
    """A ternary ResNet20 with biases and factors as different as after training."""
    model = tfqkd.models.build("resnet20", (32, 32, 3), classes, mean=[120.0] * 3, std=[60.0] * 3)
    generator = np.random.default_rng(0)
    model.set_weights(
        [
            weight if weight.ndim > 1 else generator.uniform(0.5, 1.5, weight.shape)
            for weight in model.get_weights()
        ]
    )
    return tfqkd.quantize_model(model, tfqkd.TernaryScheme())


@pytest.mark.slow
def test_resnet20_takes_at_most_1_45_times_its_packed_weights(tmp_path):
    names = [f"a class name {index}" for index in range(10)]
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    litert, onnx = export(
        resnet20(), tmp_path, "litert-int2,onnx-int2", class_names=names, images=images
    )
    for report in (litert, onnx):
        ternary = sum(kernel.weights for kernel in report.quantized)
        assert {kernel.bits for kernel in report.quantized} == {2} and ternary == 269_824
        assert report.float_layers == ("stem_conv", "logits")
    assert litert.bytes <= 1.45 * ternary * 2 / 8
    assert onnx.bytes <= 100_000


@pytest.mark.slow
def test_a_head_of_100_classes_adds_its_floats_or_a_quarter_of_them(tmp_path):
    names = [f"a class name {index}" for index in range(100)]
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    sizes = {}
    for head in ("float32", "int8"):
        (report,) = export(
            resnet20(100), tmp_path, "litert-int2", class_names=names, images=images, head=head
        )
        sizes[head] = report.bytes
    with_10_classes = 1.45 * 269_824 * 2 / 8
    assert sizes["float32"] <= with_10_classes + 23_400
    # 6,400 weights; each of the 100 channels has a scale and a zero point.
    assert sizes["int8"] <= with_10_classes + 23_400 - 3 * 6_400 + 100 * 12 + 500


@pytest.mark.slow
def test_resnet20_runs_at_the_speed_of_the_float_file(tmp_path):
    reports = export(resnet20(), tmp_path, "litert-float32,litert-int8,litert-int2")
    trials: dict[tuple[str, int, int], list[float]] = {}
    for _ in range(5):
        reference, *others, _ = measure(reports)  # The last is the 2-bit file as it is.
        for entry in others:
            for ours, theirs in zip(entry.latencies, reference.latencies, strict=True):
                setting = (entry.format, ours.threads, ours.batch)
                trials.setdefault(setting, []).append(ours.median / theirs.median)
    # The median of several trials, for other programs slow some runs down.
    ratios = {setting: np.median(found) for setting, found in trials.items()}
    assert len(ratios) == 8 and max(ratios.values()) <= 1.1, ratios


@pytest.mark.usefixtures("in_this_process")
def test_asymmetric_levels_are_stored_exactly_as_two_planes(tmp_path):
    generator = np.random.default_rng(0)
    codes = generator.integers(-1, 2, (12, 4))
    codes[:, 2] = 0
    kernel = np.where(codes > 0, np.float32(0.3217), np.float32(0.1734)) * codes
    images = generator.integers(0, 256, (3, 2, 2, 3), np.uint8)
    report = to_litert(one_layer(kernel), tmp_path / "a.tflite", images=images)
    (stored,) = report.quantized
    assert (stored.layer, stored.max_code, stored.bits) == ("dense", 1, 4)
    expected = images.reshape(3, 12).astype(np.float64) @ kernel
    for direct in (True, False):
        logits = load(report.path, direct=direct)(images)
        np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-3)


@pytest.mark.usefixtures("in_this_process")
def test_asymmetric_levels_keep_their_values_through_a_negative_batch_norm(tmp_path):
    generator = np.random.default_rng(1)
    layers = keras.layers
    conv = layers.Conv2D(4, 3, use_bias=False, name="asymmetric")
    norm = layers.BatchNormalization()
    model = keras.Sequential([keras.Input((6, 6, 3)), conv, norm, layers.GlobalAvgPool2D()])
    codes = generator.integers(-1, 2, (3, 3, 3, 4))
    conv.kernel.assign(np.where(codes > 0, 0.3217, 0.1734) * codes)
    norm.gamma.assign([-1.0, 2.0, -0.5, 0.0])
    images = generator.integers(0, 256, (3, 6, 6, 3), np.uint8)
    report = to_litert(model, tmp_path / "a.tflite", images=images)
    assert [kernel.layer for kernel in report.quantized] == ["asymmetric"]
    expected = model(images.astype(np.float32))
    np.testing.assert_allclose(load(report.path)(images), expected, rtol=0, atol=1e-2)


def test_a_quantized_layer_without_codes_is_refused_by_name(tmp_path, monkeypatch):
    model = tfqkd.quantize_model(one_layer(np.ones((12, 4))), layers={"dense": 2})
    noise = np.random.default_rng(0).random((12, 4)).astype("float32")
    monkeypatch.setattr(UniformQuantizer, "quantize", lambda *_: tf.constant(noise))
    with pytest.raises(ExportError, match="Received: layer 'dense', whose kernel in the file"):
        to_litert(model, tmp_path / "a.tflite")
    assert list(tmp_path.iterdir()) == []
