"""The packed form of integer files: the very same bytes again, in fewer."""

import pathlib

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

import tfqkd
from tests.export.in_process import files_run_here
from tests.runtime.test_widening import in_cpp, library  # noqa: F401 (a fixture)
from tfqkd.cli import export as command
from tfqkd.export import ExportError, export, load
from tfqkd.export.code_sizes import packings
from tfqkd.export.formats import FORMATS as ALL
from tfqkd.export.integer import files
from tfqkd.export.integer.few_digits import shifts_of, with_few_digits
from tfqkd.export.integer.packed import pack
from tfqkd.export.source import Source
from tfqkd.runtime.widening import widen

from . import networks, reference

FORMATS = ["litert-w2a8", "litert-w2a8-packed"]


@pytest.fixture(scope="module")
def quantized():
    return networks.trained("inverted")


@pytest.fixture(scope="module")
def paths(quantized, tmp_path_factory):
    with files_run_here():
        reports = export(quantized, tmp_path_factory.mktemp("packed"), FORMATS)
    return [pathlib.Path(report.path) for report in reports]


def test_a_packed_file_is_widened_to_the_file_that_any_interpreter_runs(paths, library):  # noqa: F811
    stock, packed = (path.read_bytes() for path in paths)
    assert widen(packed) == stock
    assert in_cpp(library, packed) == stock
    assert len(packed) < 0.8 * len(stock)


def test_a_stock_interpreter_refuses_a_packed_file(paths):
    with pytest.raises(ValueError, match=r"not a valid Flatbuffer|identifier"):
        Interpreter(str(paths[1]))


def test_both_are_loaded_as_the_same_function(paths):
    images = networks.pixels(8)
    one, other = (load(path) for path in paths)
    np.testing.assert_array_equal(one(images), other(images))
    assert paths[1].suffix == ".packed" and other.class_names is None


def test_the_command_widens_without_tensorflow(paths, tmp_path, capsys):
    asked = ["export", f"--widen={paths[1]}", f"--output_dir={tmp_path}"]
    assert command.main(asked) == 0
    assert (tmp_path / "student-w2a8.tflite").read_bytes() == widen(paths[1].read_bytes())
    assert "student-w2a8.tflite" in capsys.readouterr().out
    damaged = tmp_path / "damaged.packed"
    damaged.write_bytes(paths[1].read_bytes()[:-3])
    assert command.main(["export", f"--widen={damaged}"]) == 1
    assert "must be whole" in capsys.readouterr().err
    assert command.main(["export", "--widen=no/such.packed"]) == 2
    assert not (tmp_path / "damaged.tflite").exists()


def test_a_packed_file_that_is_wrong_is_refused(quantized, tmp_path, monkeypatch):
    def spoiled(content):
        packed = bytearray(pack(content))
        packed[len(packed) // 2] ^= 1
        return bytes(packed)

    monkeypatch.setattr(files, "pack", spoiled)
    with pytest.raises(ExportError, match="must be whole when it is read back"):
        export(quantized, tmp_path, "litert-w2a8-packed")
    assert list(tmp_path.iterdir()) == []


def test_scales_and_biases_of_few_digits_take_two_bytes_and_move_outputs_little():
    graph = networks.graph("residual")
    few = with_few_digits(graph)
    for one, other in zip(graph.operations, few.operations, strict=True):
        if one.kernel is None:
            continue
        np.testing.assert_array_equal(one.kernel.codes, other.kernel.codes)
        np.testing.assert_allclose(other.kernel.scales, one.kernel.scales, rtol=2**-13)
        units = other.kernel.scales.astype(float)
        _, least = shifts_of(np.abs(other.kernel.bias).astype(np.int64))
        biases = [each.kernel.bias * each.kernel.scales.astype(float) for each in (one, other)]
        moved = np.abs(biases[1] - biases[0])
        assert (moved <= np.maximum(2**-12 * np.abs(biases[0]), 2**least * units)).all()
        assert not (other.kernel.scales.view(np.uint32) & 2047).any()
        shifts = np.maximum(0, np.frexp(np.abs(other.kernel.bias).astype(float))[1] - 12)
        assert not (other.kernel.bias & (1 << shifts) - 1).any()
    images = networks.pixels(64, seed=4)
    codes = [reference.run(each, images)[-1] for each in (graph, few)]
    assert np.abs(codes[1] - codes[0]).max() <= 2
    assert np.abs(codes[1] - codes[0]).mean() < 0.2


@pytest.mark.slow
@pytest.mark.parametrize(
    "network, size, all_codes, ternary_codes",
    [("resnet20", 32, 1.15, 1.2), ("mobilenetv2_0.5", 96, 1.3, 1.4)],
)
def test_a_packed_file_takes_little_more_than_its_codes(network, size, all_codes, ternary_codes):
    model = tfqkd.models.build(network, (size, size, 3), 10, mean=[120.0] * 3, std=[60.0] * 3)
    generator = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, networks.layers.BatchNormalization):
            # Zeros would take no bytes.
            layer.beta.assign(generator.normal(size=layer.beta.shape))
            layer.gamma.assign(generator.uniform(0.5, 1.5, layer.gamma.shape))
            layer.moving_mean.assign(generator.normal(size=layer.beta.shape))
    source = Source.prepare(tfqkd.quantize_model(model, tfqkd.DeployScheme()))
    form = ALL[FORMATS[1]]
    graph = files.graph_of(source, form)
    kernels = [each.kernel.codes for each in graph.operations if each.kernel is not None]
    ternary = sum(codes.size / 4 for codes in kernels if np.abs(codes).max() == 1)
    size = len(pack(files.content_of(graph, source, form)))
    assert size <= ternary_codes * ternary
    assert size <= all_codes * sum(each.packed_bytes for each in packings(source))
