"""What was exported, as tables, as `report.json` and in a few plain sentences."""

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from tfqkd.export.benchmark import Benchmark
from tfqkd.export.report import Report
from tfqkd.runtime.outputs import LOGITS, OUTPUTS
from tfqkd.tables import Table

REPORT_FILE = "report.json"
_REFERENCE = "litert-float32"
_REST = "biases, scales, structure"


def size_table(reports: Sequence[Report]) -> Table:
    """Returns sizes, beside those of the packed codes alone, and the accuracy of each file."""
    table = Table("format", "bytes", "gzip", "× packed", "× entropy", "max difference", "top-1 %")
    for report in reports:
        packed, entropy = _packed(report)
        table.add(
            report.format,
            f"{report.bytes:,}",
            f"{report.gzip_bytes:,}",
            _ratio(report.bytes, packed),
            _ratio(report.bytes, entropy),
            f"{report.max_difference:.1e}",
            "" if report.accuracy is None else f"{100 * report.accuracy:.2f}",
        )
    return table


def speed_table(benchmarks: Sequence[Benchmark]) -> Table:
    """Returns load time, memory and latency, in milliseconds: median ± spread of the quartiles."""
    columns = benchmarks[0].latencies if benchmarks else ()
    headings = [f"{entry.threads} thr × {entry.batch}" for entry in columns]
    table = Table("format", "load ms", "memory MB", *headings)
    for measured in benchmarks:
        table.add(
            measured.name,
            f"{1e3 * measured.load_seconds:.1f}",
            "" if measured.peak_bytes is None else f"{measured.peak_bytes / 1e6:.1f}",
            *(
                f"{1e3 * entry.median:.2f} ± {1e3 * entry.spread:.2f}"
                for entry in measured.latencies
            ),
        )
    return table


def relative_table(benchmarks: Sequence[Benchmark]) -> Table | None:
    """Returns load time, memory and latency as multiples of the float file's; None without it."""
    (base, *_) = [entry for entry in benchmarks if entry.format == _REFERENCE] or (None,)
    if base is None:
        return None
    settings = [f"{entry.threads} thr × {entry.batch}" for entry in base.latencies]
    table = Table(f"against {_REFERENCE}", "load", "memory", *settings)
    for measured in benchmarks:
        pairs: list[tuple[float | None, float | None]] = [
            (measured.load_seconds, base.load_seconds),
            (measured.peak_bytes, base.peak_bytes),
            *(
                (ours.median, theirs.median)
                for ours, theirs in zip(measured.latencies, base.latencies, strict=True)
            ),
        ]
        table.add(measured.name, *(_ratio(ours, theirs) for ours, theirs in pairs))
    return table


def layer_table(report: Report, latencies: Sequence[float] = ()) -> Table:
    """Returns the kernels of a file: bytes as stored, packed and at their entropy, and time.

    The last row is all else in it.

    Args:
        report: What was exported.
        latencies: For each of `report.layers`, seconds up to its output; see
            `benchmark.layer_latencies`. A layer's own share is what it adds to the one before.
    """
    headings = ["layer", "weights", "type", "bytes", "packed", "entropy bytes"]
    headings += ["ms to its output", "ms of its own"] if latencies else []
    table = Table(*headings)
    packings = {(packing.layer, packing.weights): packing for packing in report.packing}
    for index, layer in enumerate(report.layers):
        packing = packings.get((layer.layer, layer.weights))
        cells = [layer.layer, f"{layer.weights:,}", layer.type, f"{layer.bytes:,}"]
        cells += (
            [f"{packing.packed_bytes:,.0f}", f"{packing.entropy_bytes:,.0f}"]
            if packing
            else ["", ""]
        )
        if latencies:
            before = latencies[index - 1] if index else 0.0
            cells += [f"{1e3 * time:.3f}" for time in (latencies[index], latencies[index] - before)]
        table.add(*cells)
    table.add(_REST, "", "", f"{_rest(report):,}", *[""] * (len(headings) - 4))
    return table


def sentences(reports: Sequence[Report], benchmarks: Sequence[Benchmark]) -> list[str]:
    """Returns what few bits buy and what they do not, from what was measured."""
    by_format = {report.format: report for report in reports}
    measured = {(entry.format, entry.direct): entry for entry in benchmarks}
    reference = by_format.get(_REFERENCE)
    said = []
    if reports and reports[0].output != LOGITS:
        said.append(f"The files return {OUTPUTS[reports[0].output]}.")
    for name in ("litert-int2", "onnx-int2"):
        report = by_format.get(name)
        if report is None:
            continue
        if report.float_layers:
            floats = sum(layer.bytes for layer in report.layers if layer.type == "float32")
            said.append(
                f"{name}: float kernels remain in {', '.join(report.float_layers)}: {floats:,} of "
                f"{report.bytes:,} bytes; {_rest(report):,} are {_REST}."
            )
        if report.rounded_layers:
            said.append(f"{name}: rounded to int8 on request: {', '.join(report.rounded_layers)}.")
        if report.direct_layers:
            said.append(
                f"{name}: {', '.join(report.direct_layers)} multiply 2-bit codes and round their "
                f"activations to int8, which changes logits by up to {report.max_difference:.1e}."
            )
        if reference:
            said.append(
                f"{name}: {reference.bytes / report.bytes:.1f} times smaller than {_REFERENCE} on "
                f"disk, {reference.gzip_bytes / report.gzip_bytes:.1f} times when both are "
                "compressed, as for a download."
            )
        base = measured.get((_REFERENCE, False))
        for direct, how in ((False, "loaded by tfqkd"), (True, "as it is")):
            entry = measured.get((name, direct))
            if entry and base:
                ratios = [
                    one.median / other.median
                    for one, other in zip(entry.latencies, base.latencies, strict=True)
                ]
                memory = _ratio(entry.peak_bytes, base.peak_bytes)
                said.append(
                    f"{name}, {how}: {min(ratios):.2f} to {max(ratios):.2f} times the latency of "
                    f"{_REFERENCE}" + (f", {memory} times its memory." if memory else ".")
                )
    if any("int2" in report.format for report in reports):
        said.append(
            "Two bits buy disk and download. These runtimes compute convolutions with float or int8 "
            "weights: two bits buy neither memory nor their speed."
        )
    return said


def write_report(
    reports: Sequence[Report], benchmarks: Sequence[Benchmark], directory: pathlib.Path
) -> None:
    """Writes `report.json`: see `report_json`."""
    text = json.dumps(report_json(reports, benchmarks), indent=2)
    (directory / REPORT_FILE).write_text(f"{text}\n", encoding="utf-8")


def report_json(reports: Sequence[Report], benchmarks: Sequence[Benchmark]) -> dict[str, Any]:
    """Returns what JSON can hold: `files`, each with its report and how it ran; `summary`, sentences."""
    files = []
    for report in reports:
        packed, entropy = _packed(report)
        files.append(
            {
                **dataclasses.asdict(report),
                "path": pathlib.Path(report.path).name,
                "packed_bytes": packed,
                "entropy_bytes": entropy,
                "runs": [
                    dataclasses.asdict(entry)
                    for entry in benchmarks
                    if entry.format == report.format
                ],
            }
        )
    return {"files": files, "summary": sentences(reports, benchmarks)}


def _rest(report: Report) -> int:
    return report.bytes - sum(layer.bytes for layer in report.layers)


def _packed(report: Report) -> tuple[float, float]:
    """Returns the bytes of all codes, packed and at their entropy."""
    return (
        sum(packing.packed_bytes for packing in report.packing),
        sum(packing.entropy_bytes for packing in report.packing),
    )


def _ratio(value: float | None, base: float | None) -> str:
    return f"{value / base:.2f}" if value is not None and base else ""
