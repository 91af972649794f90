"""Integer files through `tfqkd.export`: what is written, reported, read back and refused."""

import json
import pathlib
import re

import numpy as np
import pytest

import tfqkd
from tests.export.in_process import files_run_here
from tfqkd.core.quantizers import UniformQuantizer
from tfqkd.export import (
    FORMATS,
    ExportError,
    early_check,
    export,
    format_trial,
    load,
    tflite,
    to_litert,
)
from tfqkd.export.integer import files
from tfqkd.export.integer.few_digits import with_few_digits
from tfqkd.export.litert import write_litert
from tfqkd.export.source import Source
from tfqkd.runtime.packing import width_of

from . import networks, reference

FORMAT = "litert-w2a8"


@pytest.fixture(scope="module")
def quantized():
    return networks.trained("residual")


@pytest.fixture(scope="module")
def source(quantized):
    """What `to_litert` makes of it before it writes."""
    return Source.prepare(quantized)


@pytest.fixture(scope="module")
def reports(quantized, tmp_path_factory):
    """Written and verified in child processes, as users have it."""
    images = networks.pixels(64)
    labels = quantized(images.astype(np.float32)).numpy().argmax(axis=1)
    directory = tmp_path_factory.mktemp("integer")
    return export(
        quantized,
        directory,
        [FORMAT, "litert-w8a8"],
        images=images[:8],
        test=(images, labels),
        class_names="abcde",
        input_type="uint8",
        output_type="int8",
    )


def test_a_file_is_loaded_as_any_other(reports):
    images, whole = networks.pixels(8, seed=9), networks.graph("residual")
    last = whole.tensors[-1]
    for report, graph in zip(reports, (with_few_digits(whole), whole), strict=True):
        expected = (reference.run(graph, images)[-1] - last.zero_point) * last.scale
        model = load(report.path)
        assert model.class_names == tuple("abcde")
        for given in (images, images.astype(np.float32)):
            np.testing.assert_allclose(model(given), expected, rtol=0, atol=1.01 * last.scale)


def test_the_report_tells_codes_accuracy_and_bytes(reports):
    report = reports[0]
    codes = {kernel.layer: kernel.max_code for kernel in report.quantized}
    assert codes.pop("stem") > 64 and codes.pop("head") > 64
    assert set(codes.values()) == {1}
    assert report.float_layers == ()
    assert {layer.type for layer in report.layers} == {"int8"}
    assert report.accuracy > 0.9 and report.agreement > 0.8
    assert {packing.bits for packing in report.packing if packing.layer in codes} == {2}


def test_the_metadata_tells_format_and_types(reports):
    file = tflite.read(pathlib.Path(reports[0].path).read_bytes())
    (entry,) = [entry for entry in file.metadata if entry.name == b"tfqkd"]
    said = json.loads(bytes(file.buffers[entry.buffer].data))
    assert (said["format"], said["input_type"], said["output_type"]) == (FORMAT, "uint8", "int8")


def kernel_and_bias(file):
    """Those of "first8", the first ternary layer."""
    tensors = file.subgraphs[0].tensors
    index = next(i for i, each in enumerate(tensors) if list(each.shape) == [8, 3, 3, 8])
    return tensors[index : index + 2]


def flip_code(file):
    data = file.buffers[kernel_and_bias(file)[0].buffer].data
    data[np.flatnonzero(data)[0]] ^= 255


def change_bias(file):
    file.buffers[kernel_and_bias(file)[1].buffer].data[0] ^= 1


def change_scale(file):
    kernel_and_bias(file)[0].quantization.scale[0] *= np.float32(1.001)


def change_step(file):
    named(file, b"sum8").quantization.scale[0] *= np.float32(1.001)


def change_zero_point(file):
    named(file, b"sum8").quantization.zeroPoint[0] += 1


def change_order(file):
    operators = file.subgraphs[0].operators
    operators[-2], operators[-3] = operators[-3], operators[-2]


def named(file, name):
    (tensor,) = [each for each in file.subgraphs[0].tensors if each.name == name]
    return tensor


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (flip_code, "layer 'first8/kernel' with other codes"),
        (change_bias, "layer 'first8/bias' with other codes"),
        (change_scale, "layer 'first8/kernel' with other scales"),
        (change_step, "layer 'sum8' with other scales, zero points"),
        (change_zero_point, "layer 'sum8' with other scales, zero points"),
        (change_order, "with other operations"),
    ],
)
@pytest.mark.usefixtures("in_this_process")
def test_a_fault_in_the_file_is_found_when_it_is_read_back(
    source, tmp_path, monkeypatch, fault, message
):
    def spoiled(path):
        file = read_back(path)
        fault(file)
        return file

    read_back = files.read_back
    monkeypatch.setattr(files, "read_back", spoiled)
    with pytest.raises(ExportError, match=message):
        write_litert(source, tmp_path / "a.tflite", FORMATS[FORMAT])
    assert list(tmp_path.iterdir()) == []


def test_weights_of_more_bits_are_refused_with_the_format_that_takes_them(tmp_path):
    scheme = tfqkd.DeployScheme(UniformQuantizer(2))
    model = networks.quantized(networks.inverted(), scheme, {"expand": 4, "depthwise": 8})
    message = "'expand' with codes of 4 bits.*Export to litert-w4a8"
    with pytest.raises(ExportError, match=message):
        to_litert(model, tmp_path / "a.tflite", format=FORMAT)
    with files_run_here():
        report = to_litert(model, tmp_path / "b.tflite", format="litert-w4a8")
    widths = {each.layer: width_of(-each.max_code, each.max_code) for each in report.quantized}
    assert (widths["expand"], widths["depthwise"], widths["project"]) == (4, 8, 2)


def test_a_model_of_other_steps_is_refused_and_nothing_is_left(tmp_path):
    model = tfqkd.quantize_model(networks.residual(), tfqkd.TernaryScheme(), ".*")
    message = re.compile("needs a trained step.*'normalization.*DeployScheme")
    with pytest.raises(ExportError, match=message):
        to_litert(model, tmp_path / "a.tflite", format=FORMAT)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"input_type": "int16"}, "`input_type` must be one of float32, uint8, int8"),
        ({"output_type": "uint8"}, "`output_type` must be one of float32, int8"),
        (
            {"format": "litert-int2", "input_type": "int8"},
            "`input_type` is an option of litert-w8a8, litert-w4a8, litert-w2a8",
        ),
    ],
)
def test_types_that_do_not_fit_are_refused(quantized, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        to_litert(quantized, tmp_path / "a.tflite", **{"format": FORMAT, **settings})


@pytest.mark.usefixtures("in_this_process")
def test_an_untrained_model_passes_the_check_before_training(capsys):
    quantized = tfqkd.quantize_model(networks.inverted(), tfqkd.DeployScheme())
    assert format_trial.try_formats(quantized, [FORMAT], networks.pixels(4)) is None
    assert FORMAT in capsys.readouterr().out


@pytest.mark.usefixtures("in_this_process")
def test_a_network_without_an_integer_graph_is_refused_before_training():
    layers = networks.layers
    inputs = networks.keras.Input(networks.SHAPE)
    x = layers.Conv2D(4, 3, name="stem")(layers.Rescaling(1 / 255)(inputs))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="swish", name="middle")(x))
    model = networks.keras.Model(inputs, layers.Dense(5, name="head")(x))
    quantized = tfqkd.quantize_model(model, tfqkd.DeployScheme())
    message = re.compile("made of.*'middle', with the activation swish.*Nothing is lost")
    with pytest.raises(ExportError, match=message):
        early_check.require_formats(quantized, [FORMAT], networks.pixels(4))


def test_a_file_has_the_same_bytes_each_time(quantized, source):
    form = FORMATS[FORMAT]
    written = {
        files.content_of(files.read_graph(each.model), each, form)
        for each in (source, Source.prepare(quantized))
    }
    assert len(written) == 1
