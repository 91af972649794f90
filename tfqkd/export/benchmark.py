"""Measures exported files in processes of their own: speed, load time and memory."""

import dataclasses
import json
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from tfqkd.export.formats import FORMATS
from tfqkd.export.report import Report
from tfqkd.export.verification import ExportError, child_environment

_MEASURED = (".tflite", ".onnx")


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
        peak_bytes: By how much loading it and a batch of one image raise the peak memory.
        latencies: One for each number of threads and images.
    """

    format: str
    direct: bool
    load_seconds: float
    peak_bytes: float
    latencies: tuple[Latency, ...]


def benchmark(reports: Sequence[Report]) -> list[Benchmark]:
    """Measures exported files; those with codes below 8 bits both ways.

    Files that need TensorFlow are left out: nobody runs them for speed on a device.

    Args:
        reports: What was exported.

    Raises:
        ExportError: If a child process fails.
    """
    runs = [
        (report, direct)
        for report in reports
        if report.path.endswith(_MEASURED)
        for direct in ((False, True) if FORMATS[report.format].has_narrow_codes else (False,))
    ]
    if not runs:
        return []
    arguments = [part for report, direct in runs for part in (*_flag(direct), report.path)]
    latencies = _child("tfqkd.runtime.latency", arguments)
    footprints = [
        _child("tfqkd.runtime.footprint", [*_flag(direct), report.path]) for report, direct in runs
    ]
    return [
        Benchmark(
            report.format,
            direct,
            footprint["load_seconds"],
            footprint["peak_bytes"],
            tuple(Latency(**latency) for latency in measured),
        )
        for (report, direct), measured, footprint in zip(runs, latencies, footprints, strict=True)
    ]


def layer_latencies(report: Report) -> dict[str, float]:
    """Measures a LiteRT file up to each of its layers, one image on one thread.

    The file is cut off behind one layer after another. The runtime fuses operators, so that no layer
    has a time of its own: the time up to a layer, less that up to the one before, is its share.

    Args:
        report: What was exported as float file or with codes; of others the result is empty.

    Returns:
        By layer, in the order in which the file computes them, the median seconds up to its output.

    Raises:
        ExportError: If a child process fails.
    """
    path = pathlib.Path(report.path)
    if path.suffix != ".tflite" or FORMATS[report.format].is_calibrated:
        return {}
    from tfqkd.export import tflite

    content = path.read_bytes()
    with tempfile.TemporaryDirectory(prefix="tfqkd-") as directory:
        files = []
        for number in range(len(report.kernel_layers)):
            files.append(pathlib.Path(directory) / f"{number}.tflite")
            files[-1].write_bytes(tflite.cut_after(content, number))
        measured = _child("tfqkd.runtime.latency", ["--single", *map(str, files)])
    medians = [single["median"] for (single,) in measured]
    return dict(zip(report.kernel_layers, medians, strict=True))


def _flag(direct: bool) -> list[str]:
    return ["--direct"] if direct else []


def _child(module: str, arguments: Sequence[str]) -> Any:
    child = subprocess.run(
        [sys.executable, "-P", "-m", module, *arguments],
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
