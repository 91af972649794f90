"""Files that are close to the model, not equal: float16 weights, and int8 all through."""

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from tfqkd.compat import keras
from tfqkd.export import ExportError, export, litert, load, tflite, to_litert

from . import classifier
from .in_process import files_run_here

pytestmark = pytest.mark.usefixtures("in_this_process")

FULL, HALF = "litert-int8-full", "litert-float16"


@pytest.fixture(scope="module")
def model():
    return classifier.build()[0]


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    images = classifier.pixels(200, seed=8)
    logits = model(images).numpy()
    # Of an untrained model many are ties; those with a clear lead are as a trained one's.
    lead = np.sort(logits, axis=1) @ np.array([0, 0, 0, -1, 1])
    clear = np.argsort(lead)[-50:]
    with files_run_here():
        reports = export(
            model,
            tmp_path_factory.mktemp("rounded"),
            [HALF, FULL],
            images=images[:8],
            calibration=images,
            test=(images[clear], logits[clear].argmax(axis=1)),
        )
    return {report.format: report for report in reports}


def test_float16_weights_are_the_rounded_ones(model, files):
    graph_types = [t.type for t in tflite.read(litert_bytes(files[HALF])).subgraphs[0].tensors]
    assert graph_types.count(tflite.schema.TensorType.FLOAT16) >= 7
    images = classifier.pixels(9)
    expected = model(images).numpy()
    difference = np.abs(load(files[HALF].path)(images) - expected).max()
    # 2^-11 a weight.
    assert 0 < difference < 1e-2 * np.abs(expected).max()
    assert files[HALF].quantized == ()


def litert_bytes(report):
    from pathlib import Path

    return Path(report.path).read_bytes()


def test_full_int8_computes_in_int8_only(files):
    file = tflite.read(litert_bytes(files[FULL]))
    operator = tflite.schema.BuiltinOperator
    outside = {operator.QUANTIZE, operator.DEQUANTIZE}
    graph = file.subgraphs[0]
    for node in graph.operators:
        if file.operatorCodes[node.opcodeIndex].builtinCode not in outside:
            inputs = {graph.tensors[index].type for index in node.inputs if index >= 0}
            assert tflite.schema.TensorType.FLOAT32 not in inputs


@pytest.mark.parametrize("name", [HALF, FULL])
def test_a_plain_interpreter_runs_the_file_as_it_is(files, name):
    images = classifier.pixels(3)
    logits = Interpreter(files[name].path).get_signature_runner()(images=images)["logits"]
    np.testing.assert_allclose(logits, load(files[name].path)(images), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", [HALF, FULL])
def test_accuracy_is_within_half_a_point_and_reported(files, name):
    assert files[name].accuracy == 1.0


@pytest.mark.parametrize("name", [HALF, FULL])
def test_two_layers_with_the_same_kernel_are_both_found(tmp_path, name):
    flat = keras.layers.Flatten()(image := keras.Input((2, 2, 3)))
    first, second = keras.layers.Dense(4, name="first"), keras.layers.Dense(4, name="second")
    model = keras.Model(image, keras.layers.Subtract()([first(flat), second(flat[:, ::-1])]))
    second.set_weights(first.get_weights())
    images = np.random.default_rng(1).integers(0, 256, (32, 2, 2, 3), np.uint8)
    report = to_litert(model, tmp_path / "a.tflite", format=name, calibration=images)
    assert set(report.float_layers) == {"first", "second"}


def test_layers_are_listed_with_the_bytes_of_their_type(files):
    for name, type_, size in ((HALF, "float16", 2), (FULL, "int8", 1)):
        layers = {layer.layer: layer for layer in files[name].layers}
        assert {layer.type for layer in layers.values()} == {type_}
        assert (layers["ternary"].weights, layers["ternary"].bytes) == (576, 576 * size)


@pytest.mark.slow
def test_activations_that_saturate_are_refused(model, tmp_path):
    # Calibrated on black images, the file saturates from the stem on.
    images, black = classifier.pixels(8), np.zeros((2, *classifier.SHAPE), np.float32)
    with pytest.raises(ExportError, match="logits that differ by up to"):
        to_litert(model, tmp_path / "a.tflite", format=FULL, images=images, calibration=black)
    assert list(tmp_path.iterdir()) == []


def test_full_int8_needs_real_images(model, tmp_path):
    with pytest.raises(ValueError, match="`calibration` must hold real images"):
        to_litert(model, tmp_path / "a.tflite", format=FULL)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [HALF, pytest.param(FULL, marks=pytest.mark.slow)])
def test_a_wrong_kernel_is_found_when_the_file_is_read_back(model, tmp_path, monkeypatch, name):
    def convert_wrongly(source, weights="float32"):
        content = convert(source, weights)
        if weights == "float32":
            return content
        file = tflite.read(content)
        (kernel,) = [
            tensor
            for tensor in file.subgraphs[0].tensors
            if list(tensor.shape) == [8, 3, 3, 8]
            and tensor.name.startswith(b"small/ternary")
            and file.buffers[tensor.buffer].data is not None
        ]
        width = 2 if weights == "float16" else 1
        data = file.buffers[kernel.buffer].data.reshape(8, -1, width).copy()
        file.buffers[kernel.buffer].data = data[::-1].reshape(-1)
        return tflite.write(file)

    convert = litert._convert
    monkeypatch.setattr(litert, "_convert", convert_wrongly)
    with pytest.raises(ExportError, match=r"layer 'ternary' with .* weights that are not"):
        to_litert(model, tmp_path / "a", format=name, calibration=classifier.pixels(8))
    assert list(tmp_path.iterdir()) == []
