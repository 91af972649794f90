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
    for axis in axes.flat:
        axis.invert_yaxis()
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
    bars = axes.barh(names, [report.bytes / 1e3 for report in reports], label="file")
    labels = [f"{report.bytes:,}" for report in reports]
    if packed:
        labels = [
            f"{report.bytes:,}: {report.bytes / packed:.2f} × packed, "
            f"{report.bytes / entropy:.2f} × entropy"
            for report in reports
        ]
        axes.axvline(packed / 1e3, color="black", ls="--", label="codes alone, packed")
        axes.axvline(entropy / 1e3, color="black", ls=":", label="codes alone, entropy")
    axes.bar_label(bars, labels, padding=4, fontsize="small")
    compressed = [report.gzip_bytes / 1e3 for report in reports]
    axes.barh(names, compressed, height=0.35, label="compressed with gzip")
    axes.set(xscale="log", xlabel="kB", title="Size, bytes")
    # Room for the labels behind the longest bar.
    axes.set_xlim(right=20 * max(report.bytes for report in reports) / 1e3)
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.15), ncols=4, fontsize="small")


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
    speeds.set(xscale="log", xlabel="ms an image, median ± half the spread", title="Latency")
    speeds.legend(loc="upper left", bbox_to_anchor=(0, -0.15), ncols=4, fontsize="small")
    for axes, title, values in (
        (loading, "Load time, ms", [1e3 * entry.load_seconds for entry in benchmarks]),
        (memory, "Peak memory, MB", [(entry.peak_bytes or 0) / 1e6 for entry in benchmarks]),
    ):
        axes.bar_label(axes.barh(names, values), fmt="%.1f", padding=4, fontsize="small")
        axes.set(title=title)
        axes.margins(x=0.25)
    loading.set(xscale="log")
