"""Models for TensorFlow Lite Micro, run by its own interpreter, and their C source, compiled."""

import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess

import numpy as np
import pytest
from PIL import Image

import tfqkd
from tests.export.in_process import files_run_here
from tfqkd.cli import predict
from tfqkd.core.quantizers import UniformQuantizer
from tfqkd.export import ExportError, early_check, export, load, tflite
from tfqkd.export.integer import c_source, micro
from tfqkd.runtime import micro as runtime

from . import networks, reference

NAMES = ("cat", 'a "dog"', "élan\\??/", "0", "frog")
HEADER_BYTES, TERNARY = 16, 3


@pytest.fixture(scope="module")
def quantized():
    return networks.trained("residual")


@pytest.fixture(scope="module")
def report(quantized, tmp_path_factory):
    """Written and verified in child processes, as users have it."""
    images = networks.pixels(32)
    labels = quantized(images.astype(np.float32)).numpy().argmax(axis=1)
    directory = tmp_path_factory.mktemp("micro")
    return export(
        quantized, directory, "tflm", images=images[:8], test=(images, labels), class_names=NAMES
    )[0]


def codes_of(content, images, arena=2**17):
    return runtime.computed(
        runtime.interpreter(content, arena), (images.astype(int) - 128).astype(np.int8)
    )


@pytest.mark.parametrize("name", networks.BUILDERS)
def test_look_up_tables_change_no_code_and_are_within_two_of_exact_arithmetic(name):
    # Of 16 images the mean below is uncertain by 0.05, and sums in threads decide about the graph.
    graph, images = networks.graph(name), networks.pixels(200, seed=5)
    whole = micro.whole(graph)
    content = micro.compressed(graph, whole)
    micro.check(content, graph)
    found = codes_of(content, images)
    np.testing.assert_array_equal(found, codes_of(whole, images))
    expected = reference.run(graph, images)[-1]
    assert expected.std() > 5
    # TFLM's kernels round products twice.
    assert np.abs(found.astype(int) - expected).max() <= 2
    assert np.abs(found.astype(int) - expected).mean() < 0.33


def test_a_ternary_kernel_takes_two_bits_and_three_bytes_a_channel():
    graph = networks.graph("residual")
    whole = micro.whole(graph)
    ternary = [
        each.kernel
        for each in graph.operations
        if each.kernel and np.abs(each.kernel.codes).max() == 1
    ]
    small = [kernel for kernel in ternary if micro.index_bits(kernel) == 2]
    assert len(small) == len(ternary) - 1  # A projection of 8 × 12 weights would gain nothing.
    buffers = [
        bytes(each.data)
        for each in tflite.read(micro.compressed(graph, whole)).buffers
        if each.data is not None
    ]
    lengths = [len(each) for each in buffers]
    for kernel in small:
        assert kernel.codes.size // 4 in lengths
        assert HEADER_BYTES + TERNARY * len(kernel.codes) in lengths
        assert kernel.stored.tobytes() not in buffers


def test_the_report_counts_the_file_that_the_device_has(report):
    folder = pathlib.Path(report.path)
    assert folder.name == "student.tflm"
    assert report.bytes == (folder / "model.tflite").stat().st_size
    kinds = {layer.layer: layer.type for layer in report.layers}
    assert (kinds["stem"], kinds["second8"], kinds["head"]) == ("int8", "int2", "int8")
    assert report.float_layers == () and report.accuracy > 0.9


def test_it_is_loaded_as_any_other_file(report):
    images, graph = networks.pixels(8, seed=9), networks.graph("residual")
    model, last = load(report.path), graph.tensors[-1]
    assert model.class_names == NAMES and model.batch_size is None
    expected = (codes_of(micro.whole(graph), images).astype(int) - last.zero_point) * last.scale
    for given in (images, images.astype(np.float32)):
        np.testing.assert_allclose(model(given), expected, rtol=1e-6)


def test_the_arena_is_the_one_that_the_interpreter_reports(report, capfd):
    folder = pathlib.Path(report.path)
    content = (folder / "model.tflite").read_bytes()
    made = runtime.interpreter(content, 2**20)
    made.print_allocations()
    (total,) = re.findall(r"Arena allocation total (\d+) bytes", capfd.readouterr().err)
    arena = json.loads((folder / "tfqkd.json").read_text())["arena_bytes"]
    assert arena == runtime.smallest_arena(content) >= int(total)
    assert arena - int(total) < 32
    with pytest.raises(RuntimeError):
        runtime.interpreter(content, arena - 16)


def test_an_arena_in_which_the_interpreter_crashes_is_too_small(monkeypatch):
    def crashing(content, arena_bytes):
        if arena_bytes < 5000:
            os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(runtime, "interpreter", crashing)
    assert runtime.smallest_arena(b"") == 5008


@pytest.mark.parametrize("compiler", [["gcc", "-std=c11"], ["g++", "-std=c++17", "-x", "c++"]])
def test_a_compiler_makes_the_very_file_of_the_c_source(report, tmp_path, compiler):
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"needs {compiler[0]}")
    program = tmp_path / "main.c"
    program.write_text(
        '#include <stdio.h>\n#include "model.h"\nint main(void) {\n'
        "  fwrite(tfqkd_model, 1, TFQKD_MODEL_BYTES, stdout);\n"
        '  for (int i = 0; i < TFQKD_OUTPUTS; ++i) fprintf(stderr, "%s|", tfqkd_class_names[i]);\n'
        '  fprintf(stderr, "%u %.9g %d", TFQKD_ARENA_BYTES, TFQKD_OUTPUT_SCALE, TFQKD_OUTPUT_ZERO_POINT);\n'
        "  return (int)((unsigned long)tfqkd_model % 16);\n}\n"
    )
    folder = pathlib.Path(report.path)
    command = [*compiler, "-Wall", "-Wextra", "-Werror", f"-I{folder}", str(program)]
    subprocess.run([*command, str(folder / "model.c"), "-o", str(tmp_path / "a")], check=True)
    ran = subprocess.run([tmp_path / "a"], capture_output=True, check=True)
    assert ran.stdout == (folder / "model.tflite").read_bytes()
    last = networks.graph("residual").tensors[-1]
    *names, numbers = ran.stderr.decode().split("|")
    assert names == list(NAMES)
    arena, scale, zero_point = numbers.split()
    assert int(arena) == json.loads((folder / "tfqkd.json").read_text())["arena_bytes"]
    assert (np.float32(scale), int(zero_point)) == (last.scale, last.zero_point)


def test_the_header_lists_the_operators():
    content = micro.compressed(networks.graph("plain"), micro.whole(networks.graph("plain")))
    added = c_source.header(content, networks.graph("plain"), 1, micro.operators(content), None)
    assert set(re.findall(r"resolver\.(\w+)\(\);", added)) == {
        "AddConv2D",
        "AddDecode",
        "AddDepthwiseConv2D",
        "AddFullyConnected",
        "AddMaxPool2D",
        "AddPad",
        "AddReshape",
    }
    assert "class_names" not in added


def test_an_arena_that_is_too_small_is_refused_with_what_it_takes(quantized, report, tmp_path):
    arena = json.loads((pathlib.Path(report.path) / "tfqkd.json").read_text())["arena_bytes"]
    with files_run_here():
        few = arena - 16
        said = rf"arena_bytes={few:,}, where .* needs {arena:,}\."
        with pytest.raises(ExportError, match=said):
            export(quantized, tmp_path, "tflm", arena_bytes=few)
        with pytest.raises(ExportError, match=rf"{said}.*Nothing is lost"):
            early_check.require_formats(quantized, "tflm", networks.pixels(2), None, few)
        assert not list(tmp_path.glob("[!.]*"))
        export(quantized, tmp_path, "tflm", arena_bytes=arena)
    with pytest.raises(
        ValueError, match=r"an option of tflm. Received: arena_bytes=5 for litert-w2a8"
    ):
        export(quantized, tmp_path, "litert-w2a8", arena_bytes=5)


def test_tables_that_are_read_otherwise_are_refused(quantized, tmp_path, monkeypatch):
    monkeypatch.setattr(micro, "compressed", spoiled)
    monkeypatch.setattr(micro, "check", lambda content, graph: None)
    with pytest.raises(ExportError, match="look-up tables must compute what the one without does"):
        export(quantized, tmp_path, "tflm")
    assert not list(tmp_path.glob("[!.]*"))


def spoiled(graph, whole):
    """A file whose first table has other values."""
    file = tflite.read(compressed(graph, whole))
    table = next(
        each.data for each in file.buffers if each.data is not None and len(each.data) == 16 + 3 * 8
    )
    table[16:] = table[16:][::-1]
    return tflite.write(file)


compressed = micro.compressed


def test_other_codes_in_a_file_are_found():
    graph = networks.graph("residual")
    with pytest.raises(ExportError, match=r"'first8'.*other codes"):
        micro.check(spoiled(graph, micro.whole(graph)), graph)


def test_kernels_of_more_bits_stay_int8(tmp_path):
    model = networks.quantized(networks.built("raw"), tfqkd.DeployScheme(UniformQuantizer(8)))
    graph = networks.read_graph(tfqkd.strip_quantization(model))
    whole = micro.whole(graph)
    assert micro.compressed(graph, whole) == whole


def test_the_package_that_runs_it_is_named_where_it_is_missing():
    form = dataclasses.replace(tfqkd.export.FORMATS["tflm"], runtime="no_such_micro")
    with pytest.raises(ImportError, match=r"tflm needs the module no_such_micro.*'tfqkd\[micro\]'"):
        form.require_runtime()


def test_images_are_classified_by_the_command(report, tmp_path, capsys):
    Image.fromarray(networks.pixels(1)[0]).save(tmp_path / "one.png")
    assert predict.main(["predict", f"--model={report.path}", f"--images={tmp_path}/one.png"]) == 0
    assert "frog" in capsys.readouterr().out
