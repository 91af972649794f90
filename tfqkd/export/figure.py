"""The figure of an export."""

import pathlib
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from tfqkd.export.benchmark import Benchmark
from tfqkd.export.report import Report

mpl.use("Agg")

FIGURE_FILE = "report.png"
_SMALLEST_DIFFERENCE = 1e-8  # Where an exact 0 is drawn.


def plot_export(
    reports: Sequence[Report], benchmarks: Sequence[Benchmark], path: pathlib.Path
) -> None:
    """Draws what `report.json` holds: above what each file is, below how it runs.

    Args:
        reports: What was exported.
        benchmarks: What was measured; without any, there is only the upper row.
        path: The PNG file.
    """
    rows = [len(reports), len(benchmarks)] if benchmarks else [len(reports)]
    figure, axes = plt.subplots(
        len(rows),
        3,
        figsize=(16, sum(0.4 * row + 1.8 for row in rows)),
        squeeze=False,
        height_ratios=[row + 2 for row in rows],
        width_ratios=[2, 1, 1],
        layout="constrained",
    )
    _plot_sizes(axes[0][0], reports)
    names = [report.format for report in reports]
    differences = [report.max_difference for report in reports]
    drawn = [max(value, _SMALLEST_DIFFERENCE) for value in differences]
    _plot_values(axes[0][1], names, drawn, [f"{value:.1e}" for value in differences])
    axes[0][1].set(xscale="log", title="Largest difference of a logit")
    shares = [100 * report.accuracy for report in reports if report.accuracy is not None]
    if len(shares) == len(names):
        _plot_values(axes[0][2], names, shares, [f"{share:.2f}" for share in shares])
    axes[0][2].set(title="Top-1 on the test images, %")
    if benchmarks:
        _plot_runs(axes[1], benchmarks)
    for count, row in zip(rows, axes, strict=True):
        for axis in row:
            # The first name at the top, and room for what stands above and below a point.
            axis.set_ylim(count - 0.4, -0.6)
    for axis in axes.flat:
        axis.grid(axis="x", alpha=0.3)
        axis.set_axisbelow(True)
    for axis in axes[:, 1:].flat:
        axis.tick_params(labelleft=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _plot_sizes(axes: Axes, reports: Sequence[Report]) -> None:
    names = [report.format for report in reports]
    packed = sum(packing.packed_bytes for packing in reports[0].packing)
    entropy = sum(packing.entropy_bytes for packing in reports[0].packing)
    sizes = [report.bytes / 1e3 for report in reports]
    # Points: a logarithmic axis has no zero for a bar to begin at.
    axes.plot(sizes, names, "o", label="file")
    labels = [f"{report.bytes:,}" for report in reports]
    if packed:
        labels = [
            f"{report.bytes:,}: {report.bytes / packed:.2f} × packed, "
            f"{report.bytes / entropy:.2f} × entropy"
            for report in reports
        ]
        axes.axvline(packed / 1e3, color="black", ls="--", label="codes alone, packed")
        axes.axvline(entropy / 1e3, color="black", ls=":", label="codes alone, entropy")
    _label_points(axes, sizes, names, labels)
    compressed = [report.gzip_bytes / 1e3 for report in reports]
    axes.plot(compressed, names, "s", label="compressed with gzip")
    axes.set(xscale="log", title="Size, kB (labels in bytes)")
    # Room for the labels behind the last point.
    axes.set_xlim(right=20 * max(report.bytes for report in reports) / 1e3)
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.15), ncols=4, fontsize="small")


def _label_points(
    axes: Axes, values: Sequence[float], names: Sequence[str], labels: Sequence[str]
) -> None:
    for value, name, label in zip(values, names, labels, strict=True):
        axes.annotate(
            label, (value, name), (7, 0), textcoords="offset points", va="center", fontsize="small"
        )


def _plot_values(
    axes: Axes, names: Sequence[str], values: Sequence[float], labels: Sequence[str]
) -> None:
    axes.plot(values, names, "o")
    for name, value, label in zip(names, values, labels, strict=True):
        axes.annotate(
            label, (value, name), (0, 5), textcoords="offset points", ha="center", fontsize="small"
        )
    axes.margins(x=0.25)


def _plot_runs(row: Sequence[Axes], benchmarks: Sequence[Benchmark]) -> None:
    names = [entry.name for entry in benchmarks]
    speeds, loading, memory = row
    for index, setting in enumerate(benchmarks[0].latencies):
        measured = [entry.latencies[index] for entry in benchmarks]
        speeds.errorbar(
            [1e3 * latency.median / setting.batch for latency in measured],
            names,
            xerr=[1e3 * latency.spread / setting.batch / 2 for latency in measured],
            fmt="o",
            label=f"{setting.threads} threads, batch {setting.batch}",
        )
    speeds.set(xscale="log", title="Latency, ms an image: median ± half the spread")
    speeds.legend(loc="upper left", bbox_to_anchor=(0, -0.15), ncols=4, fontsize="small")
    loads = [1e3 * entry.load_seconds for entry in benchmarks]
    _plot_values(loading, names, loads, [f"{load:.1f}" for load in loads])
    loading.set(xscale="log", title="Load time, ms")
    peaks = memory.barh(names, [(entry.peak_bytes or 0) / 1e6 for entry in benchmarks])
    memory.bar_label(peaks, fmt="%.1f", padding=4, fontsize="small")
    memory.set(title="Peak memory, MB")
    memory.margins(x=0.25)
