"""Options that make a 2-bit file smaller or faster, and not exact."""

import json
import pathlib

import numpy as np
import pytest

from tfqkd.compat import keras
from tfqkd.export import ExportError, load, tflite, to_litert
from tfqkd.export.codes import round_to_codes

pytestmark = pytest.mark.usefixtures("in_this_process")

layers = keras.layers


@pytest.fixture(scope="module")
def model():
    generator = np.random.default_rng(0)
    body = [layers.Dense(96, activation="relu", use_bias=False, name=name) for name in "ab"]
    flat = [layers.Rescaling(1 / 255), layers.Flatten()]
    built = keras.Sequential([keras.Input((4, 4, 3)), *flat, *body, layers.Dense(10, name="head")])
    for layer in body:
        layer.kernel.assign(0.1 * generator.integers(-1, 2, layer.kernel.shape))
    return built


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).integers(0, 256, (8, 4, 4, 3), np.uint8)


def test_rounding_a_kernel_is_off_by_at_most_half_a_step():
    kernel = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    kernel[2] = 0
    coded = round_to_codes(kernel, axis=0)
    steps = np.abs(kernel).max(axis=1) / 127
    np.testing.assert_allclose(coded.scales, np.where(steps > 0, steps, 1), rtol=1e-6)
    errors = np.abs(coded.values - kernel).max(axis=1)
    assert (errors <= 0.5001 * steps).all()
    assert np.abs(coded.codes).max(axis=1).tolist() == [127, 127, 0, 127, 127]


def test_an_int8_head_saves_three_bytes_a_weight(model, images, tmp_path):
    exact = to_litert(model, tmp_path / "exact.tflite", images=images)
    small = to_litert(model, tmp_path / "small.tflite", images=images, head="int8")
    assert (exact.float_layers, small.float_layers) == (("head",), ())
    assert small.rounded_layers == ("head",) and exact.rounded_layers == ()
    saved = exact.bytes - small.bytes
    # 960 weights; scales, zero points and an operator cost some of it again.
    assert 0.6 * 3 * 960 < saved < 3 * 960
    kernel = model.get_layer("head").kernel.numpy()
    hidden = keras.Model(model.input, model.get_layer("b").output)(images.astype("f4")).numpy()
    expected = hidden.astype(np.float64) @ round_to_codes(kernel, axis=1).values
    np.testing.assert_allclose(load(small.path)(images), expected, atol=1e-4)


def test_dense_layers_multiply_codes_natively_and_the_error_is_reported(model, images, tmp_path):
    report = to_litert(model, tmp_path / "a.tflite", images=images, dense_kernels="int2")
    assert report.direct_layers == ("a", "b")
    file = tflite.read(pathlib.Path(report.path).read_bytes())
    graph = file.subgraphs[0]
    types = [constants[0].type for _, _, constants in tflite.constant_kernels(file, graph)]
    assert types[:2] == [tflite.schema.TensorType.INT2] * 2
    expected = model(images.astype(np.float32)).numpy()
    for direct in (True, False):
        difference = np.abs(load(report.path, direct=direct)(images) - expected).max()
        # Rounded activations: 1/127 of the largest in each of two layers, and averaging.
        assert 0 < difference < 0.02 * np.abs(expected).max()
        assert difference <= report.max_difference * 1.01
    assert [(layer.layer, layer.type, layer.bytes) for layer in report.layers] == [
        ("a", "int2", 48 * 96 / 4),
        ("b", "int2", 96 * 96 / 4),
        ("head", "float32", 4 * 960),
    ]
    assert report.direct_layers == ("a", "b")


def test_a_direct_kernel_that_was_not_asked_for_is_refused(model, images, tmp_path, monkeypatch):
    store = tflite.store_kernels

    def store_directly(content, bits, names, **options):
        return [
            type(kernel)(**{**vars(kernel), "is_direct": False})
            for kernel in store(content, bits, names, **{**options, "multiplies_codes": True})
        ]

    monkeypatch.setattr(tflite, "store_kernels", store_directly)
    with pytest.raises(ExportError, match="layer 'a' with codes that are read directly"):
        to_litert(model, tmp_path / "a.tflite", images=images)


def test_a_file_says_which_options_it_was_written_with(model, images, tmp_path):
    report = to_litert(
        model, tmp_path / "a.tflite", images=images, head="int8", dense_kernels="int2"
    )
    file = tflite.read(pathlib.Path(report.path).read_bytes())
    (entry,) = [entry for entry in file.metadata if entry.name == b"tfqkd"]
    said = json.loads(bytes(file.buffers[entry.buffer].data))
    assert (said["head"], said["dense_kernels"]) == ("int8", "int2")


@pytest.mark.parametrize(("option", "value"), [("head", "int8"), ("dense_kernels", "int2")])
def test_options_of_no_chosen_format_are_refused(model, tmp_path, option, value):
    message = (
        f"`{option}` is an option of litert-int2. Received: {option}='{value}' for litert-int8"
    )
    with pytest.raises(ValueError, match=message):
        to_litert(model, tmp_path / "a.tflite", format="litert-int8", **{option: value})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("option", "value"), [("head", "int4"), ("dense_kernels", "int8")])
def test_unknown_options_are_refused(model, tmp_path, option, value):
    with pytest.raises(ValueError, match=f"`{option}` must be one of .*{option}='{value}'"):
        to_litert(model, tmp_path / "a.tflite", **{option: value})
