import json
import pathlib

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto

import tfqkd
from tfqkd.compat import keras
from tfqkd.export import ExportError, export, load, onnx_graph, to_onnx
from tfqkd.export import onnx as onnx_export
from tfqkd.export.source import Source

from . import classifier


@pytest.fixture(scope="module")
def model():
    return classifier.build()[0]


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    directory = tmp_path_factory.mktemp("onnx")
    reports = export(model, directory, "onnx-float32,onnx-int2", class_names=classifier.CLASS_NAMES)
    return {report.format: report for report in reports}


@pytest.mark.parametrize("name", ["onnx-float32", "onnx-int2"])
@pytest.mark.parametrize("direct", [True, False])
def test_logits_equal_keras(model, files, name, direct):
    loaded = load(files[name].path, threads=1, direct=direct)
    for count in (1, 7):
        images = classifier.pixels(count)
        np.testing.assert_allclose(loaded(images), model(images), rtol=0, atol=1e-4)
    assert loaded.class_names == classifier.CLASS_NAMES
    assert (loaded.inputs, loaded.outputs) == (
        {"images": (None, *classifier.SHAPE)},
        {"logits": (None, classifier.CLASSES)},
    )


def test_onnxruntime_alone_runs_the_file(model, files):
    session = onnxruntime.InferenceSession(files["onnx-int2"].path)
    images = classifier.pixels(3)
    (logits,) = session.run(None, {"images": images})
    np.testing.assert_allclose(logits, model(images), rtol=0, atol=1e-4)


def test_each_kernel_takes_the_fewest_bits_that_hold_its_codes(files):
    report = files["onnx-int2"]
    expected = {"depthwise": 2, "ternary": 2, "three_bit": 4, "four_bit": 4, "hidden": 8}
    assert {kernel.layer: kernel.bits for kernel in report.quantized} == expected
    assert report.float_layers == classifier.FLOAT_LAYERS
    file = onnx.load(report.path)
    types = [constant.data_type for constant in file.graph.initializer]
    assert [types.count(onnx_graph.CODE_TYPES[bits]) for bits in (2, 4, 8)] == [2, 2, 1]
    assert (file.opset_import[0].version, file.ir_version) == (25, 13)


def test_codes_are_those_of_the_kernel(files):
    codes = classifier.build()[1]["three_bit"]
    file = onnx.load(files["onnx-int2"].path)
    (kernel,) = [
        constant
        for constant in file.graph.initializer
        if constant.data_type == TensorProto.INT4 and list(constant.dims) == [8, 8, 3, 3]
    ]
    stored = onnx.numpy_helper.to_array(kernel).astype(int).transpose(2, 3, 1, 0)
    signs = np.sign((stored * codes).sum(axis=(0, 1, 2)))
    np.testing.assert_array_equal(stored, codes * signs)


def test_metadata_is_a_json_object(files):
    (entry,) = onnx.load(files["onnx-int2"].path).metadata_props
    assert entry.key == "tfqkd"
    assert json.loads(entry.value) == {
        "producer": f"tfqkd {tfqkd.__version__}",
        "format": "onnx-int2",
        "input_range": [0, 255],
        "class_names": list(classifier.CLASS_NAMES),
        "output": "logits",
    }


@pytest.mark.usefixtures("in_this_process")
def test_asymmetric_levels_are_stored_exactly_as_two_planes(tmp_path):
    codes = np.random.default_rng(0).integers(-1, 2, (12, 4))
    dense = keras.layers.Dense(4, use_bias=False, name="dense")
    model = keras.Sequential([keras.Input((2, 2, 3)), keras.layers.Flatten(), dense])
    kernel = np.where(codes > 0, np.float32(0.3217), np.float32(0.1734)) * codes
    dense.kernel.assign(kernel)
    report = to_onnx(model, tmp_path / "a.onnx")
    assert [(kernel.layer, kernel.bits) for kernel in report.quantized] == [("dense", 4)]
    images = np.random.default_rng(1).integers(0, 256, (3, 2, 2, 3), np.uint8)
    expected = images.reshape(3, 12).astype(np.float64) @ kernel
    np.testing.assert_allclose(load(report.path)(images), expected, atol=1e-3)


@pytest.mark.parametrize(("top", "bits"), [(1, 2), (7, 4), (127, 8)])
@pytest.mark.usefixtures("in_this_process")
def test_a_dense_layer_is_exact_in_a_default_session(tmp_path, top, bits):
    codes = np.random.default_rng(0).integers(-top, top + 1, (12, 4))
    dense = keras.layers.Dense(4, name="dense")
    model = keras.Sequential([keras.Input((2, 2, 3)), keras.layers.Flatten(), dense])
    codes[0] = 1
    dense.kernel.assign(0.37 * codes)
    report = to_onnx(model, tmp_path / "a.onnx")
    assert [(kernel.layer, kernel.bits) for kernel in report.quantized] == [("dense", bits)]
    images = np.random.default_rng(1).integers(0, 256, (3, 2, 2, 3), np.uint8)
    expected = images.reshape(3, 12).astype(np.float64) @ (0.37 * codes)
    np.testing.assert_allclose(load(report.path, direct=True)(images), expected, atol=1e-3)


def ternary_constant(file):
    """The codes of the layer with the only ternary kernel of shape [8, 8, 3, 3]."""
    (codes,) = [
        constant
        for constant in file.graph.initializer
        if constant.data_type == TensorProto.INT2 and list(constant.dims) == [8, 8, 3, 3]
    ]
    return codes


def swap_channels(file):
    codes = ternary_constant(file)
    data = np.frombuffer(codes.raw_data, np.uint8).reshape(8, -1)
    codes.raw_data = data[[0, 1, 2, 3, 5, 4, 6, 7]].tobytes()


def change_scale(file, factor):
    codes = ternary_constant(file)
    (node,) = [node for node in file.graph.node if codes.name in node.input]
    (scale,) = [c for c in file.graph.initializer if c.name == node.input[1]]
    value = onnx.numpy_helper.to_array(scale) * np.float32(factor)
    scale.CopyFrom(onnx.numpy_helper.from_array(value, scale.name))


@pytest.fixture(scope="module")
def converted(model):
    return onnx_export._convert(Source.prepare(model))


@pytest.fixture
def converted_once(converted, monkeypatch):
    """The converter is slow, and no fault is planted before it."""
    monkeypatch.setattr(onnx_export, "_convert", lambda source: converted)


def plant(monkeypatch, fault):
    """Lets a fault happen to what is written, after the converter and the codes."""
    write = onnx_graph.write

    def write_wrongly(file):
        if faults and len(file.metadata_props):
            faults.pop()(file)
        return write(file)

    faults = [fault]
    monkeypatch.setattr(onnx_graph, "write", write_wrongly)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda file: change_scale(file, 1.0001), "layer 'ternary' with other scales"),
        (swap_channels, r"layer 'ternary' with \d+ other codes"),
    ],
    ids=["scale", "channels"],
)
@pytest.mark.usefixtures("converted_once")
def test_a_fault_is_found_when_the_file_is_read_back(model, tmp_path, monkeypatch, fault, message):
    plant(monkeypatch, fault)
    with pytest.raises(ExportError, match=message):
        to_onnx(model, tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("converted_once")
def test_a_wrong_scale_before_the_file_is_written_is_found(model, tmp_path, monkeypatch):
    find = onnx_graph.find_planes

    def find_wrongly(kernel, axis):
        return find(kernel * np.float32(1.0001 if kernel.shape == (8, 8, 3, 3) else 1), axis)

    monkeypatch.setattr(onnx_graph, "find_planes", find_wrongly)
    with pytest.raises(ExportError, match="' with codes and scales that do not stand for"):
        to_onnx(model, tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(lambda file: change_scale(file, 3), id="scale"),
        pytest.param(swap_channels, id="channels", marks=pytest.mark.slow),
    ],
)
@pytest.mark.usefixtures("converted_once", "in_this_process")
def test_a_fault_that_only_shows_at_run_time_is_refused(model, tmp_path, monkeypatch, fault):
    plant(monkeypatch, fault)
    monkeypatch.setattr(onnx_export, "check_kernels", lambda *_: None)
    with pytest.raises(ExportError, match="logits that differ"):
        to_onnx(model, tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kept", [0.5, 0.99])
@pytest.mark.usefixtures("converted_once")
def test_a_file_that_is_cut_short_is_refused(model, tmp_path, monkeypatch, kept):
    write = onnx_graph.write

    def write_half(file):
        content = write(file)
        return content[: int(kept * len(content))] if len(file.metadata_props) else content

    monkeypatch.setattr(onnx_graph, "write", write_half)
    with pytest.raises(ExportError, match="must be complete and valid when it is read back"):
        to_onnx(model, tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_file_that_is_cut_short_is_refused_by_the_runtime(files, tmp_path, kept):
    content = pathlib.Path(files["onnx-int2"].path).read_bytes()
    (tmp_path / "short.onnx").write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=r"must be complete and readable. Received: .*short.onnx"):
        load(tmp_path / "short.onnx")


def test_unknown_formats_are_refused(model, tmp_path):
    with pytest.raises(
        ValueError,
        match=r"onnx-float32, onnx-int2, onnx-w8a8, onnx-w2a8\. Received: format='onnx-int4'",
    ):
        to_onnx(model, tmp_path / "a.onnx", format="onnx-int4")
