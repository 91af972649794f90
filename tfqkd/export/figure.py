"""The figure of an export."""

import pathlib
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib import pyplot as plt

from tfqkd.export.benchmark import Benchmark
from tfqkd.export.report import Report

mpl.use("Agg")

FIGURE_FILE = "report.png"


def plot_export(
    reports: Sequence[Report], benchmarks: Sequence[Benchmark], path: pathlib.Path
) -> None:
    """Draws the size of each file, with what the codes alone would take, and its latencies.

    Args:
        reports: What was exported.
        benchmarks: What was measured; without any, sizes only.
        path: The PNG file.
    """
    panels = 2 if benchmarks else 1
    figure, axes = plt.subplots(
        1, panels, figsize=(6.5 * panels, 0.6 * len(reports) + 2.5), squeeze=False
    )
    figure.set_layout_engine("constrained")
    sizes = axes[0][0]
    names = [report.format for report in reports]
    sizes.barh(names, [report.bytes / 1e3 for report in reports], label="file")
    sizes.barh(
        names, [report.gzip_bytes / 1e3 for report in reports], height=0.35, label="compressed"
    )
    packed = sum(packing.packed_bytes for packing in reports[0].packing)
    if packed:
        sizes.axvline(packed / 1e3, color="black", linestyle="--", label="codes alone, packed")
    sizes.set(xscale="log", xlabel="kB", title="Size")
    sizes.invert_yaxis()
    sizes.legend()
    if benchmarks:
        speeds = axes[0][1]
        labels = [
            f"{entry.format}, as it is" if entry.direct else entry.format for entry in benchmarks
        ]
        for index, setting in enumerate(benchmarks[0].latencies):
            speeds.errorbar(
                [1e3 * entry.latencies[index].median / setting.batch for entry in benchmarks],
                labels,
                xerr=[1e3 * e.latencies[index].spread / setting.batch / 2 for e in benchmarks],
                fmt="o",
                label=f"{setting.threads} threads, batch {setting.batch}",
            )
        speeds.set(xscale="log", xlabel="ms an image", title="Latency")
        speeds.invert_yaxis()
        speeds.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)
