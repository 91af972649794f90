"""What onnxruntime computes of an integer file, against exact integer arithmetic."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest

from tfqkd.core.quantizers import UniformQuantizer
from tfqkd.core.schemes import Scheme
from tfqkd.export import ExportError, export, load
from tfqkd.export.integer.graph import LOWEST
from tfqkd.export.integer.onnx import check, to_model
from tfqkd.runtime.packing import unpack

from . import networks, reference


def computed(model, images, folder=None):
    """Returns the codes that a file's outputs stand for, and the operators that onnxruntime runs."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if folder is not None:
        options.optimized_model_filepath = str(folder / "optimized.onnx")
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, {"images": images.astype(np.float32)})
    kinds = []
    if folder is not None:
        optimized = onnx.load(folder / "optimized.onnx", load_external_data=False)
        kinds = [node.op_type for node in optimized.graph.node]
    return found, kinds


@pytest.mark.parametrize("bits", [8, 2])
@pytest.mark.parametrize("name", networks.BUILDERS)
def test_outputs_are_within_one_step_of_exact_integer_arithmetic(name, bits, tmp_path):
    graph, images = networks.graph(name), networks.pixels(32, seed=5)
    model = to_model(graph, "logits", bits)
    onnx.checker.check_model(model)
    check(model, graph)
    last = graph.tensors[-1]
    expected = reference.run(graph, images)[-1]
    found, kinds = computed(model, images, tmp_path)
    codes = found / last.scale + last.zero_point
    assert np.abs(codes - expected).max() <= 1.001
    assert (np.abs(codes - expected) < 0.01).mean() > 0.9
    # Integers are computed with: no convolution, product or addition of floats is left.
    assert not {"Conv", "Gemm", "MatMul", "Cast", "Gather"} & set(kinds)
    assert kinds.count("Add") == 1  # Of the pixels.
    assert "QLinearConv" in kinds


@pytest.mark.parametrize("name", ["residual", "raw"])
def test_files_of_all_input_and_output_types_compute_the_same(name):
    graph, images = networks.graph(name), networks.pixels(16, seed=8)
    given = {
        "float32": images.astype(np.float32),
        "uint8": images,
        "int8": (images.astype(int) - 128).astype(np.int8),
    }
    codes, floats = {}, {}
    for input_type, pixels in given.items():
        for output_type, kept in (("int8", codes), ("float32", floats)):
            model = to_model(graph, "logits", 2, input_type, output_type)
            onnx.checker.check_model(model)
            session = onnxruntime.InferenceSession(model.SerializeToString())
            (kept[input_type],) = session.run(None, {"images": pixels})
            assert kept[input_type].dtype == output_type
    last = graph.tensors[-1]
    expected = reference.run(graph, images)[-1]
    assert np.abs(codes["int8"].astype(int) - expected).max() <= 1
    for each in given:
        np.testing.assert_array_equal(codes[each], codes["int8"])
        steps = codes["int8"].astype(np.float32) - last.zero_point
        np.testing.assert_allclose(floats[each], steps * last.scale, rtol=1e-6)


def test_ternary_kernels_are_two_bit_constants():
    graph = networks.graph("residual")
    narrow, wide = (to_model(graph, "logits", bits) for bits in (2, 8))
    operation = next(each for each in graph.operations if each.layer == "second8")
    number = graph.operations.index(operation) + 1
    found, plain = (
        next(each for each in model.graph.initializer if each.name == f"t{number}w")
        for model in (narrow, wide)
    )
    assert found.data_type == onnx.TensorProto.INT2 and plain.data_type == onnx.TensorProto.INT8
    codes = unpack(np.frombuffer(found.raw_data, np.uint8), 2, 8 * 8 * 9)
    expected = np.moveaxis(operation.kernel.codes, 3, 1)
    np.testing.assert_array_equal(codes.reshape(8, 8, 3, 3), expected)
    stored = onnx.numpy_helper.to_array(plain)
    np.testing.assert_array_equal(stored, 64 * expected)


def test_sums_of_two_products_fit_16_bits():
    """Without VNNI, x86 processors clip what uint8 × int8 adds up to in pairs."""
    for name in networks.BUILDERS:
        for constant in to_model(networks.graph(name), "logits", 8).graph.initializer:
            if constant.data_type == onnx.TensorProto.INT8:
                largest = np.abs(onnx.numpy_helper.to_array(constant).astype(int)).max()
                assert 2 * 255 * largest < 2**15


@pytest.fixture(scope="module")
def quantized():
    return networks.trained("residual")


@pytest.mark.parametrize(
    "types", [{}, {"input_type": "uint8", "output_type": "int8"}], ids=["floats", "integers"]
)
def test_files_are_exported_and_loaded_as_any_other(quantized, tmp_path, types):
    images = networks.pixels(48)
    labels = quantized(images.astype(np.float32)).numpy().argmax(axis=1)
    formats = "onnx-w8a8,onnx-w2a8"
    reports = export(
        quantized,
        tmp_path,
        formats,
        images=images[:8],
        test=(images, labels),
        class_names="abcde",
        **types,
    )
    graph = networks.graph("residual")
    last = graph.tensors[-1]
    assert last.zero_point != LOWEST
    expected = (reference.run(graph, images)[-1] - last.zero_point) * last.scale
    for report in reports:
        assert report.accuracy > 0.9 and report.float_layers == ()
        model = load(report.path)
        assert model.class_names == tuple("abcde")
        np.testing.assert_allclose(model(images), expected, rtol=0, atol=1.01 * last.scale)
    wide, narrow = reports
    assert narrow.bytes < wide.bytes
    kinds = {layer.layer: layer.type for layer in narrow.layers}
    assert (kinds["stem"], kinds["second8"], kinds["head"]) == ("int8", "int2", "int8")
    properties = {p.key: p.value for p in onnx.load(narrow.path).metadata_props}
    assert json.loads(properties["tfqkd"])["format"] == "onnx-w2a8"


def test_other_codes_in_a_file_are_found():
    graph = networks.graph("residual")
    model = to_model(graph, "logits", 2)
    constant = next(
        each for each in model.graph.initializer if each.data_type == onnx.TensorProto.INT2
    )
    constant.raw_data = bytes([constant.raw_data[0] ^ 1, *constant.raw_data[1:]])
    with pytest.raises(ExportError, match=r"'first8'.*other codes"):
        check(model, graph)


def test_a_model_without_trained_steps_is_refused(tmp_path):
    scheme = Scheme(UniformQuantizer(2, "channel"))
    model = networks.tfqkd.quantize_model(networks.built("residual"), scheme, ".*")
    with pytest.raises(ExportError, match="needs a trained step"):
        export(model, tmp_path, "onnx-w2a8")
