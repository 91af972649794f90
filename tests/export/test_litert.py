import json
import pathlib

import litert_quantizer as quantizer
import numpy as np
import pytest
from ai_edge_litert.tools import flatbuffer_utils

import tfqkd
from tfqkd.compat import keras
from tfqkd.export import ExportError, litert, tflite, to_litert
from tfqkd.runtime import LitertModel

from . import classifier
from .stored import stored_kernels

FORMATS = ("litert-float32", "litert-int8", "litert-int2")


def small_model(kernel=None):
    model = keras.Sequential(
        [keras.Input((2, 2, 3)), keras.layers.Flatten(), keras.layers.Dense(4, name="dense")]
    )
    if kernel is not None:
        model.layers[-1].kernel.assign(kernel)
    return model


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("count", [1, 7])
def test_file_equals_keras_for_any_batch(exported, name, count):
    images = classifier.pixels(count)
    model = LitertModel(exported.reports[name].path)
    np.testing.assert_allclose(model(images), exported.model(images), rtol=0, atol=1e-4)


def find_kernel(exported, name, layer):
    """Returns the kernel of a layer in a file, and the layer's kernel, codes and normalisation."""
    kernel = exported.model.get_layer(layer).get_weights()[0].astype(np.float64)
    codes = exported.codes[layer]
    if layer == "depthwise":  # Keras adds an axis for several channels out of one.
        kernel, codes = kernel[..., 0], codes[..., 0]
    norm = classifier.normalisation_after(exported.model, layer)
    gamma, _, _, variance = (weight.astype(np.float64) for weight in norm.get_weights())
    (match,) = [
        entry
        for entry in stored_kernels(exported.reports[name].path)
        if entry[1].shape == codes.shape and np.array_equal(entry[1], codes * np.sign(gamma))
    ]
    return match, kernel * gamma / np.sqrt(variance + norm.epsilon), gamma


@pytest.mark.parametrize("name", ["litert-int8", "litert-int2"])
@pytest.mark.parametrize("layer", classifier.MAX_CODES)
def test_codes_are_those_of_a_step_for_the_layer_and_scales_hold_the_normalisation_behind_it(
    exported, name, layer
):
    (_, codes, scales), folded, _ = find_kernel(exported, name, layer)
    np.testing.assert_allclose(codes * scales.astype(np.float64), folded, rtol=1e-6)
    assert np.abs(codes).max() == classifier.MAX_CODES[layer]


@pytest.mark.parametrize("name", ["litert-int8", "litert-int2"])
def test_ternary_kernels_are_bit_for_bit_those_of_the_float_file(exported, name):
    content = pathlib.Path(exported.reports["litert-float32"].path).read_bytes()
    floats = [kernel.value for kernel in tflite.float_kernels(tflite.read(content))]
    for layer in ("depthwise", "ternary"):
        (_, codes, scales), _, _ = find_kernel(exported, name, layer)
        received = codes * scales  # float32
        expected = received[np.newaxis] if layer == "depthwise" else np.moveaxis(received, -1, 0)
        assert any(np.array_equal(expected, value) for value in floats)


@pytest.mark.parametrize("name", ["litert-int8", "litert-int2"])
def test_dead_channels_have_codes_zero_and_negative_factors_turn_the_codes(exported, name):
    for layer in classifier.MAX_CODES:
        (_, codes, scales), folded, gamma = find_kernel(exported, name, layer)
        assert not codes[..., classifier.DEAD_CHANNEL].any() and (gamma < 0).any()
        assert (scales > 0).all()
        np.testing.assert_array_equal(np.sign(codes), np.sign(folded))


def test_kernels_without_codes_stay_float_and_are_listed(exported):
    report = exported.reports["litert-int8"]
    quantized = {kernel.layer: kernel.max_code for kernel in report.quantized}
    assert quantized == classifier.MAX_CODES
    assert {kernel.layer: kernel.weights for kernel in report.quantized} == {
        layer: exported.codes[layer].size for layer in classifier.MAX_CODES
    }
    assert report.float_layers == classifier.FLOAT_LAYERS
    assert len(list(stored_kernels(report.path))) == len(classifier.MAX_CODES)


def test_float32_file_has_no_codes(exported):
    report = exported.reports["litert-float32"]
    assert report.quantized == () and not list(stored_kernels(report.path))
    assert set(report.float_layers) == {*classifier.MAX_CODES, *classifier.FLOAT_LAYERS}


def test_int8_file_is_smaller_by_three_bytes_a_code(exported):
    codes = sum(codes.size for codes in exported.codes.values())
    saved = exported.reports["litert-float32"].bytes - exported.reports["litert-int8"].bytes
    # Scales, names and operators cost some of it again.
    assert 0.5 * 3 * codes < saved <= 3 * codes


def test_codes_equal_those_of_litert_quantizer(exported):
    types = quantizer.quantizer.qtyping
    recovery = quantizer.Quantizer(exported.reports["litert-float32"].path)
    recovery.update_quantization_recipe(
        # Kernels of more levels are beyond its smallest-gap rule, depthwise ones beyond its reach.
        regex=".*ternary.*",
        operation_name=types.TFLOperationName.CONV_2D,
        algorithm_key="dequantized_weight_recovery",
        op_config=types.OpQuantizationConfig(
            weight_tensor_config=types.TensorQuantizationConfig(
                num_bits=8, symmetric=True, granularity=types.QuantGranularity.CHANNELWISE
            ),
            compute_precision=types.ComputePrecision.FLOAT,
            explicit_dequantize=True,
        ),
    )
    theirs = flatbuffer_utils.read_model_from_bytearray(
        bytearray(recovery.quantize().quantized_model)
    )
    ours = flatbuffer_utils.read_model(exported.reports["litert-int8"].path)
    (expected,), (received,) = (
        [
            (model.buffers[tensor.buffer].data, tensor.quantization.scale)
            for tensor in model.subgraphs[0].tensors
            if tensor.name == b"small/ternary/Conv2D"
        ]
        for model in (theirs, ours)
    )
    np.testing.assert_array_equal(received[0], expected[0])
    alive = np.arange(8) != classifier.DEAD_CHANNEL
    np.testing.assert_array_equal(np.array(received[1])[alive], np.array(expected[1])[alive])


@pytest.mark.parametrize("name", FORMATS)
def test_metadata_is_a_json_object(exported, name):
    file = flatbuffer_utils.read_model(exported.reports[name].path)
    (entry,) = [entry for entry in file.metadata if entry.name == b"tfqkd"]
    assert json.loads(bytes(file.buffers[entry.buffer].data)) == {
        "producer": f"tfqkd {tfqkd.__version__}",
        "format": name,
        "input_range": [0, 255],
        "class_names": list(classifier.CLASS_NAMES),
        "output": "logits",
    }
    assert {b"min_runtime_version", b"CONVERSION_METADATA"} < {item.name for item in file.metadata}


@pytest.mark.usefixtures("in_this_process")
def test_a_quantized_model_is_exported_as_its_codes(tmp_path):
    plain, _ = classifier.build()
    quantized = tfqkd.quantize_model(plain, tfqkd.TernaryScheme())
    images = classifier.pixels(5)
    report = to_litert(quantized, tmp_path / "a.tflite", format="litert-int8", images=images)
    assert {kernel.layer for kernel in report.quantized} == set(classifier.MAX_CODES)
    assert {kernel.max_code for kernel in report.quantized} == {1}
    assert report.float_layers == classifier.FLOAT_LAYERS and report.images == 5
    logits = LitertModel(report.path)(images)
    np.testing.assert_allclose(logits, quantized(images, training=False), rtol=0, atol=1e-4)


@pytest.mark.usefixtures("in_this_process")
def test_layers_of_mixed_precision_are_exported_in_float32(tmp_path):
    policy = keras.mixed_precision.Policy("mixed_float16")
    model = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            keras.layers.Conv2D(4, 3, dtype=policy),
            keras.layers.Flatten(dtype=policy),
            keras.layers.Dense(3, dtype=policy),
        ]
    )
    report = to_litert(model, tmp_path / "a.tflite")
    images = np.random.default_rng(0).integers(0, 256, (3, 6, 6, 3), np.uint8)
    logits = LitertModel(report.path)(images)
    assert logits.dtype == np.float32
    # The model itself rounds to float16, 2^-11, at every layer.
    expected = model(images.astype(np.float32)).numpy()
    np.testing.assert_allclose(logits, expected, rtol=0, atol=4e-3 * np.abs(expected).max())


def test_a_wrong_file_never_replaces_a_right_one(tmp_path, monkeypatch):
    target = tmp_path / "a.tflite"
    target.write_bytes(b"an earlier one")

    def convert_wrongly(source):
        file = flatbuffer_utils.read_model_from_bytearray(bytearray(convert(source)))
        kernels = [t for t in file.subgraphs[0].tensors if tuple(t.shape) == (4, 12)]
        for kernel in kernels:
            weights = np.frombuffer(file.buffers[kernel.buffer].data.tobytes(), np.float32).copy()
            weights[0] += 0.1
            file.buffers[kernel.buffer].data = weights.view(np.uint8)
        return bytes(flatbuffer_utils.convert_object_to_bytearray(file))

    convert = litert._convert
    monkeypatch.setattr(litert, "_convert", convert_wrongly)
    with pytest.raises(ExportError, match="logits that differ by up to"):
        to_litert(small_model(), target)
    assert target.read_bytes() == b"an earlier one"
    assert list(tmp_path.iterdir()) == [target]
    monkeypatch.undo()
    to_litert(small_model(), target)
    assert LitertModel(target).class_names is None


@pytest.mark.usefixtures("in_this_process")
def test_two_layers_with_the_same_kernel_both_get_its_codes(tmp_path):
    image = keras.Input((2, 2, 3))
    flat = keras.layers.Flatten()(image)
    first, second = keras.layers.Dense(4, name="first"), keras.layers.Dense(4, name="second")
    model = keras.Model(image, keras.layers.Subtract()([first(flat), second(flat[:, ::-1])]))
    codes = np.random.default_rng(0).integers(-1, 2, (12, 4))
    for layer in (first, second):
        layer.kernel.assign(0.25 * codes)
    images = np.random.default_rng(1).integers(0, 256, (3, 2, 2, 3), np.uint8)
    report = to_litert(model, tmp_path / "a.tflite", format="litert-int8", images=images)
    assert report.float_layers == ()
    pixels = images.reshape(3, 12).astype(np.float64)
    expected = (pixels - pixels[:, ::-1]) @ (0.25 * codes)
    np.testing.assert_allclose(LitertModel(report.path)(images), expected, atol=1e-3)


@pytest.mark.usefixtures("in_this_process")
def test_a_transposed_convolution_gets_codes(tmp_path):
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((4, 4, 3)),
            layers.Conv2DTranspose(5, 3, strides=2, padding="same", name="up"),
            layers.GlobalAveragePooling2D(),
        ]
    )
    codes = np.random.default_rng(0).integers(-1, 2, (3, 3, 5, 3))
    model.get_layer("up").kernel.assign(0.5 * codes)
    report = to_litert(model, tmp_path / "a.tflite", format="litert-int8")
    ((_, found, scales),) = stored_kernels(report.path)
    # [h, w, in, out] here; Keras stores [h, w, out, in].
    np.testing.assert_array_equal(found, np.swapaxes(codes, 2, 3))
    np.testing.assert_array_equal(scales, np.full(5, 0.5, np.float32))


@pytest.mark.usefixtures("in_this_process")
def test_parents_are_made_and_directories_refused(tmp_path):
    report = to_litert(small_model(), tmp_path / "new" / "er" / "a.tflite")
    assert LitertModel(report.path).input_shape == (2, 2, 3)
    with pytest.raises(ExportError, match="must name a file"):
        to_litert(small_model(), tmp_path / "new")


@pytest.mark.parametrize("name", ["litert-int5", "saved_model"])
def test_unknown_formats_are_refused(tmp_path, name):
    with pytest.raises(
        ValueError, match=f"litert-float32, .*litert-int2, .*Received: format='{name}'"
    ):
        to_litert(small_model(), tmp_path / "a.tflite", format=name)
