"""Measures exported files in processes of their own: speed, load time and memory."""

import dataclasses
import json
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tfqkd.export.formats import FORMATS, Format
from tfqkd.export.report import Report
from tfqkd.export.verification import ExportError, child_environment

THREADS, BATCHES = (1, 2), (1, 32)
# One image takes a millisecond, which anything else on the machine doubles: it takes many.
_ROUNDS = {1: 101, 32: 31}


@dataclasses.dataclass(frozen=True)
class Latency:
    """How long a batch takes.

    Attributes:
        threads: How many threads the runtime may use.
        batch: How many images.
        median: Seconds.
        spread: Difference of the quartiles, seconds.
    """

    threads: int
    batch: int
    median: float
    spread: float


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """A file, as it runs on this machine.

    Attributes:
        format: Name of its format.
        direct: Whether the runtime got it as it is; otherwise `tfqkd.export.load` has widened its
            codes first.
        load_seconds: From the file to a function that is ready.
        peak_bytes: By how much loading it and a batch of one image raise the peak memory; None
            where the system does not tell.
        latencies: One for each number of threads and images.
    """

    format: str
    direct: bool
    load_seconds: float
    peak_bytes: float | None
    latencies: tuple[Latency, ...]

    @property
    def name(self) -> str:
        """What tables and figures call it."""
        return f"{self.format}, as it is" if self.direct else self.format


def benchmark(reports: Sequence[Report]) -> list[Benchmark]:
    """Measures exported files; those with codes below 8 bits both ways.

    All are run in turns, in one process for each number of threads.

    Args:
        reports: What was exported.

    Raises:
        ExportError: If a child process fails.
    """
    runs = [
        (report, direct)
        for report in reports
        for direct in ((False, True) if FORMATS[report.format].has_narrow_codes else (False,))
    ]
    files = [(report.path, direct) for report, direct in runs]
    needs_tensorflow = [FORMATS[report.format].needs_tensorflow for report, _ in runs]
    by_threads = [
        _child("latency", any(needs_tensorflow), _latency_arguments(files, threads, BATCHES))
        for threads in THREADS
    ]
    footprints = [
        _child("footprint", needs, {"path": path, "direct": direct})
        for (path, direct), needs in zip(files, needs_tensorflow, strict=True)
    ]
    return [
        Benchmark(
            report.format,
            direct,
            footprints[index]["load_seconds"],
            footprints[index]["peak_bytes"],
            tuple(Latency(**entry) for measured in by_threads for entry in measured[index]),
        )
        for index, (report, direct) in enumerate(runs)
    ]


def layer_latencies(report: Report) -> list[float]:
    """Measures a LiteRT or ONNX file up to each of its layers, one image on one thread.

    The file is cut off behind one layer after another. The runtime fuses operators, so that no layer
    has a time of its own: the time up to a layer, less that up to the one before, is its share.

    Args:
        report: What was exported; for a file that needs TensorFlow the result is empty.

    Returns:
        For each of `report.layers`, the median seconds up to its output.

    Raises:
        ExportError: If a child process fails.
    """
    form = FORMATS[report.format]
    if form.needs_tensorflow:
        return []
    cut_after = _cut_after(form)
    path = pathlib.Path(report.path)
    content = path.read_bytes()
    with tempfile.TemporaryDirectory(prefix="tfqkd-") as directory:
        files = []
        for number in range(len(report.layers)):
            file = pathlib.Path(directory) / f"{number}{path.suffix}"
            file.write_bytes(cut_after(content, number))
            files.append((str(file), False))
        measured = _child("latency", False, _latency_arguments(files, THREADS[0], BATCHES[:1]))
    return [entry["median"] for (entry,) in measured]


def _cut_after(form: Format) -> Callable[[bytes, int], bytes]:
    # They need the optional runtimes.
    if form.runtime == "onnxruntime":
        from tfqkd.export import onnx_graph

        return onnx_graph.cut_after
    from tfqkd.export import tflite

    return tflite.cut_after


def _latency_arguments(
    files: Sequence[tuple[str, bool]], threads: int, batches: Sequence[int]
) -> dict[str, Any]:
    rounds = [(batch, _ROUNDS[batch]) for batch in batches]
    return {"files": files, "threads": threads, "rounds": rounds}


def _child(measure: str, needs_tensorflow: bool, arguments: Mapping[str, Any]) -> Any:
    module = ["tfqkd.export.tensorflow_files", measure]
    if not needs_tensorflow:
        module = [f"tfqkd.runtime.{measure}"]
    child = subprocess.run(
        [sys.executable, "-P", "-m", *module, json.dumps(arguments)],
        env=child_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if child.returncode:
        raise ExportError(
            f"The exported files must run to be measured. Received: {child.stderr.strip()[-300:]}. "
            "They stand where they were written; export with --nolatency to leave this out."
        )
    return json.loads(child.stdout)
