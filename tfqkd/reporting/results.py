"""What a command prints when a run or a comparison is done."""

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tfqkd.tables import Table

if TYPE_CHECKING:
    from tfqkd.training.comparison_directory import Row
    from tfqkd.training.measurement import Measurement


def results_table(results: dict[str, Any]) -> Table:
    """Returns the models of `results.json` as a table, accuracies in per cent."""
    top5 = has_top5(results["models"])
    table = Table("model", "parameters", "test accuracy %", *(["top-5 %"] if top5 else []), "loss")
    for model in results["models"]:
        table.add(
            model["role"],
            f"{model['parameters']:,}",
            f"{100 * model['accuracy']:.2f}",
            *([f"{100 * model['top5']:.2f}"] if top5 else []),
            f"{model['loss']:.4f}",
        )
    return table


def has_top5(models: Sequence[dict[str, Any]]) -> bool:
    """Whether the models of `results.json` have a top-5: those of five classes or fewer have none."""
    return all(model["top5"] is not None for model in models)


def export_table(reports: Sequence[dict[str, Any]]) -> Table:
    """Returns the reports of exported files as a table."""
    table = Table("file", "format", "bytes", "gzip bytes", "max difference", "same top-1 %")
    for report in reports:
        table.add(
            report["path"],
            report["format"],
            f"{report['bytes']:,}",
            f"{report['gzip_bytes']:,}",
            f"{report['max_difference']:.1e}",
            f"{100 * report['agreement']:.1f}",
        )
    return table


def comparison_table(rows: Sequence["Row"]) -> Table:
    """Returns the rows of a comparison as a table, accuracies in per cent."""
    table = Table("model", "parameters", "quantized %", "file bytes", "test accuracy %", "seeds")
    for row in rows:
        table.add(
            row.name,
            f"{row.parameters:,}",
            f"{100 * row.quantized_share:.1f}",
            "" if row.file_bytes is None else f"{row.file_bytes:,}",
            row.accuracy_text(),
            len(row.accuracies),
        )
    return table


def measurement_table(measurements: Sequence["Measurement"]) -> Table:
    """Returns what `bin/evaluate` measured as a table, shares in per cent."""
    top5 = all(measurement.figures.top5 is not None for measurement in measurements)
    headings = ["accuracy %", *(["top-5 %"] if top5 else []), "loss", "agrees with teacher %"]
    table = Table("model or file", *headings)
    for measurement in measurements:
        figures, agreement = measurement.figures, measurement.agreement
        table.add(
            measurement.name,
            f"{100 * figures.accuracy:.2f}",
            *([] if figures.top5 is None else [f"{100 * figures.top5:.2f}"]),
            "" if figures.loss is None else f"{figures.loss:.4f}",
            "" if agreement is None else f"{100 * agreement:.2f}",
        )
    return table


def print_results(results: dict[str, Any], directory: pathlib.Path) -> None:
    """Prints the tables of a run and where its files are."""
    print(f"\n{results_table(results)}\n")
    if results["export"]:
        print(f"{export_table(results['export'])}\n")
    print(f"Run directory   {directory}")
    print(f"Report          {directory / 'report.html'}")
    print(f"Plot            {directory / 'run.png'}")
    print(f"Layers          {directory / 'quantization.txt'}")
    if results["export"]:
        print(f"Exported files  {directory / 'export'}")
    print(f"TensorBoard     tensorboard --logdir {directory}")


def print_comparison(rows: Sequence["Row"], directory: pathlib.Path) -> None:
    """Prints the table of a comparison and where its files are."""
    print(f"\n{comparison_table(rows)}\n")
    print("mean ± standard deviation over the seeds, in per cent of the test images")
    print(f"\nRun directory   {directory}")
    print(f"Plot            {directory / 'comparison.png'}")
    print(f"Exported files  {directory}/*/export")
