"""What was exported, as tables and as `report.json`."""

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from tfqkd.export.measure import Measured
from tfqkd.export.report import Report
from tfqkd.tables import Table

REPORT_FILE = "report.json"
_REFERENCE = "litert-float32"
_REST = "biases, scales, structure"


def size_table(reports: Sequence[Report]) -> Table:
    """Returns sizes, beside those of the packed codes alone, and the accuracy of each file."""
    headings = ("× packed", "× entropy", "max difference", "same top-1 %", "top-1 %")
    table = Table("file", "format", "bytes", "gzip", *headings)
    for report in reports:
        packed, entropy = _packed(report)
        table.add(
            pathlib.Path(report.path).name,
            report.format,
            f"{report.bytes:,}",
            f"{report.gzip_bytes:,}",
            _ratio(report.bytes, packed),
            _ratio(report.bytes, entropy),
            f"{report.max_difference:.1e}",
            f"{100 * report.agreement:.1f}",
            "" if report.accuracy is None else f"{100 * report.accuracy:.2f}",
        )
    return table


def speed_table(measured: Sequence[Measured]) -> Table:
    """Returns load time, memory and latency, in milliseconds: median ± spread of the quartiles."""
    columns = measured[0].latencies if measured else ()
    headings = [f"{entry.threads} thr × {entry.batch}" for entry in columns]
    table = Table("format", "load ms", "memory MB", *headings)
    for file in measured:
        table.add(
            file.name,
            f"{1e3 * file.load_seconds:.1f}",
            "" if file.peak_bytes is None else f"{file.peak_bytes / 1e6:.1f}",
            *(f"{1e3 * entry.median:.2f} ± {1e3 * entry.spread:.2f}" for entry in file.latencies),
        )
    return table


def relative_table(measured: Sequence[Measured]) -> Table | None:
    """Returns load time, memory and latency as multiples of the float file's; None without it."""
    base = next((file for file in measured if file.format == _REFERENCE), None)
    if base is None:
        return None
    settings = [f"{entry.threads} thr × {entry.batch}" for entry in base.latencies]
    table = Table(f"against {_REFERENCE}", "load", "memory", *settings)
    for file in measured:
        ratios = [
            _ratio(ours.median, theirs.median)
            for ours, theirs in zip(file.latencies, base.latencies, strict=True)
        ]
        load = _ratio(file.load_seconds, base.load_seconds)
        table.add(file.name, load, _ratio(file.peak_bytes, base.peak_bytes), *ratios)
    return table


def layer_table(report: Report) -> Table:
    """Returns the kernels of a file: bytes as stored, packed and at their entropy; last, all else in it."""
    table = Table("layer", "weights", "type", "bytes", "packed", "entropy bytes")
    packings = {(packing.layer, packing.weights): packing for packing in report.packing}
    for layer in report.layers:
        packing = packings.get((layer.layer, layer.weights))
        fewest = ("", "")
        if packing:
            fewest = (f"{packing.packed_bytes:,.0f}", f"{packing.entropy_bytes:,.0f}")
        table.add(layer.layer, f"{layer.weights:,}", layer.type, f"{layer.bytes:,}", *fewest)
    rest = report.bytes - sum(layer.bytes for layer in report.layers)
    table.add(_REST, "", "", f"{rest:,}", "", "")
    return table


def write_report(
    reports: Sequence[Report], measured: Sequence[Measured], directory: pathlib.Path
) -> None:
    """Writes `report.json`: see `report_json`."""
    text = json.dumps(report_json(reports, measured), indent=2)
    (directory / REPORT_FILE).write_text(f"{text}\n", encoding="utf-8")


def report_json(reports: Sequence[Report], measured: Sequence[Measured]) -> dict[str, Any]:
    """Returns what JSON can hold: `files`, each with its report and how it ran."""
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
                    dataclasses.asdict(entry) for entry in measured if entry.format == report.format
                ],
            }
        )
    return {"files": files}


def _packed(report: Report) -> tuple[float, float]:
    """Returns the bytes of all codes, packed and at their entropy."""
    return (
        sum(packing.packed_bytes for packing in report.packing),
        sum(packing.entropy_bytes for packing in report.packing),
    )


def _ratio(value: float | None, base: float | None) -> str:
    return f"{value / base:.2f}" if value is not None and base else ""
