"""Models for TensorFlow Lite Micro: a folder with the file, and with the same as C source."""

import json
import pathlib
import tempfile

from tfqkd.export.formats import Format
from tfqkd.export.report import Report
from tfqkd.export.source import Source
from tfqkd.export.stored_kernels import StoredKernel, check_layers, wrong_kernel
from tfqkd.export.verification import ExportError, run_file
from tfqkd.export.writing import metadata, write_verified
from tfqkd.runtime.inputs import Arrays
from tfqkd.runtime.signature import METADATA_ENTRY

C_FILE, HEADER_FILE = "model.c", "model.h"
_RUNNER = ("-m", "tfqkd.runtime.predict")
_COMPARED_IMAGES = 16


def write_micro(source: Source, path: pathlib.Path, form: Format) -> Report:
    """Writes and verifies a prepared model; see `tfqkd.export.export`."""
    if path.exists() and not (path / METADATA_ENTRY).is_file():
        raise ExportError(
            "`path` must be free, or an earlier model for TFLM that can be replaced. "
            f"Received: {path}, which is something else. Choose another path, or delete it."
        )
    return write_verified(
        source,
        path,
        form,
        write=lambda draft: _write(source, draft, form),
        runners=[_RUNNER],
    )


def _write(source: Source, draft: pathlib.Path, form: Format) -> list[StoredKernel]:
    # They need tflite-micro and LiteRT's schema, which are optional.
    from tfqkd.export.integer import c_source, micro
    from tfqkd.export.integer.files import integer_graph, stored_kernels

    graph = integer_graph(source)
    kernels = stored_kernels(graph, source, micro.index_bits)
    check_layers(kernels, source.quantized)
    whole = micro.whole(graph)
    content = micro.compressed(graph, whole)
    draft.mkdir()
    model = draft / form.payload
    model.write_bytes(content)
    micro.check(model.read_bytes(), graph)
    arena = _arena(model, whole, source.inputs, form)
    names = None if source.class_names is None else tuple(source.class_names)
    text = c_source.source(content, names)
    (draft / C_FILE).write_text(text, "ascii")
    if c_source.bytes_of((draft / C_FILE).read_text("ascii")) != content:
        raise wrong_kernel(C_FILE, "other bytes")
    header = c_source.header(content, graph, arena, micro.operators(content), names)
    (draft / HEADER_FILE).write_text(header, "ascii")
    said = {**json.loads(metadata(source, form)), "arena_bytes": arena}
    (draft / METADATA_ENTRY).write_text(json.dumps(said), "utf-8")
    return kernels


def _arena(model: pathlib.Path, whole: bytes, inputs: Arrays, form: Format) -> int:
    """Returns the arena of a model, which computes what the whole one does.

    Raises:
        ExportError: If it does not, or needs a larger arena than there is.
    """
    from tfqkd.export.micro_runner import ARENA, CODED, WHOLE

    few = {name: values[:_COMPARED_IMAGES] for name, values in inputs.items()}
    with tempfile.TemporaryDirectory(prefix="tfqkd-") as scratch:
        plain = pathlib.Path(scratch) / "whole.tflite"
        plain.write_bytes(whole)
        found = run_file(("-m", "tfqkd.export.micro_runner", str(plain)), model, few)
    if (found[CODED] != found[WHOLE]).any():
        raise ExportError(
            "A model with look-up tables must compute what the one without does. Received: other outputs in "
            "TFLM's interpreter. Nothing was written. Export to litert-w2a8, which TFLM runs too."
        )
    arena = int(found[ARENA])
    if form.arena_bytes and arena > form.arena_bytes:
        raise ExportError(
            f"The arena must hold a model's tensors. Received: arena_bytes={form.arena_bytes:,}, where "
            f"TFLM's interpreter needs {arena:,}. Nothing was written. Allow as many, or take smaller "
            "images or a narrower network."
        )
    return arena
