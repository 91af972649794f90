"""The tables of runs: the same in the terminal and on a page."""

import dataclasses
import pathlib
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfqkd.tables import Table
from tfqkd.training.results import ExportedFile, ModelResult, Results

if TYPE_CHECKING:
    from tfqkd.export.report import Report
    from tfqkd.reporting.measurement import Measurement


@dataclasses.dataclass(frozen=True)
class Row:
    """The models of one label, a seed each.

    Attributes:
        label: Theirs.
        models: The last is that of the recipe's own seed.
    """

    label: str
    models: tuple[ModelResult, ...]

    @property
    def accuracies(self) -> tuple[float, ...]:
        """Of each seed."""
        return tuple(model.accuracy for model in self.models)

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation of the accuracies; None of a single one."""
        return statistics.stdev(self.accuracies) if len(self.models) > 1 else None

    def mean(self, name: str) -> float:
        """Returns the mean of a figure over the seeds."""
        return statistics.fmean(getattr(model, name) for model in self.models)

    def accuracy_text(self) -> str:
        """Returns the accuracy in per cent, with the deviation."""
        spread = "" if self.deviation is None else f" ± {100 * self.deviation:.2f}"
        return f"{100 * self.mean('accuracy'):.2f}{spread}"


def rows_of(results: Results) -> list[Row]:
    """Returns the models of a run by label, in the order of its stages."""
    found: dict[str, list[ModelResult]] = {}
    for model in results.models:
        found.setdefault(model.label, []).append(model)
    return [Row(label, tuple(models)) for label, models in found.items()]


def results_table(results: Results) -> Table:
    """Returns the models of a run as a table, shares in per cent.

    Where a model was trained at several seeds, its figures are means, that of the accuracy with the sample
    standard deviation.
    """
    rows = rows_of(results)
    top5 = all(model.top5 is not None for model in results.models)
    seeds = any(len(row.models) > 1 for row in rows)
    table = Table(
        *("model", "network", "parameters", "quantized %", "test accuracy %"),
        *(["top-5 %"] if top5 else []),
        "loss",
        *(["seeds"] if seeds else []),
    )
    for row in rows:
        model = row.models[-1]
        table.add(
            row.label,
            model.name,
            f"{model.parameters:,}" if model.parameters else "not told",
            f"{100 * model.quantized_share:.1f}",
            row.accuracy_text(),
            *([f"{100 * row.mean('top5'):.2f}"] if top5 else []),
            f"{row.mean('loss'):.4f}",
            *([len(row.models)] if seeds else []),
        )
    return table


def export_table(reports: Sequence["ExportedFile | Report"]) -> Table:
    """Returns the reports of exported files as a table."""
    table = Table("file", "format", "bytes", "gzip bytes", "max difference", "same top-1 %")
    for report in reports:
        table.add(
            report.path,
            report.format,
            f"{report.bytes:,}",
            f"{report.gzip_bytes:,}",
            f"{report.max_difference:.1e}",
            f"{100 * report.agreement:.1f}",
        )
    return table


def measurement_table(measurements: Sequence["Measurement"]) -> Table:
    """Returns what `bin/evaluate` measured as a table, shares in per cent; no column that would be empty."""
    top5 = all(measurement.figures.top5 is not None for measurement in measurements)
    taught = any(measurement.agreement is not None for measurement in measurements)
    compared = any(measurement.over_first is not None for measurement in measurements)
    headings = ["accuracy %", *(["top-5 %"] if top5 else []), "loss", "ECE %"]
    headings += ["agrees with teacher %"] if taught else []
    table = Table("model or file", *headings, *(["minus the first"] if compared else []))
    for measurement in measurements:
        figures, agreement = measurement.figures, measurement.agreement
        error, over = figures.calibration_error, measurement.over_first
        cells = [
            f"{100 * figures.accuracy:.2f}",
            *([] if figures.top5 is None else [f"{100 * figures.top5:.2f}"]),
            "" if figures.loss is None else f"{figures.loss:.4f}",
            "" if error is None else f"{100 * error:.2f}",
        ]
        if taught:
            cells.append("" if agreement is None else f"{100 * agreement:.2f}")
        if compared:
            text = "" if over is None else f"{100 * over.accuracy:+.2f} ± {100 * over.error:.2f}"
            cells.append(text)
        table.add(measurement.name, *cells)
    return table


def print_results(results: Results, directory: pathlib.Path) -> None:
    """Prints the tables of a run and where its files are."""
    print(f"\n{results_table(results)}\n")
    if len(rows_of(results)) < len(results.models):
        print("Means over the seeds; ±: their sample standard deviation.\n")
    if results.export:
        print(f"{export_table(results.export)}\n")
    print(f"Run directory   {directory}")
    print(f"Report          {directory / 'report.html'}")
    print(f"Figures         {directory / 'figures'}")
    print(f"Layers          {directory / 'quantization.txt'}")
    if results.export:
        print(f"Exported files  {directory / 'export'}")
    print(f"TensorBoard     tensorboard --logdir {directory}")
