"""Figures of runs, as PNG files."""

import pathlib
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from tfqkd.reporting.style import COLOURS, INK, label
from tfqkd.storage import whole_file

mpl.use("Agg")

# Fixed: to compute them takes longer than to draw the figure, and a study draws one for every run.
_RUN_MARGINS = {"left": 0.045, "right": 0.985, "bottom": 0.12, "top": 0.92, "wspace": 0.62}
_MOST_CLASSES = 20  # Whose names and numbers can be read in a confusion matrix.


def plot_run(
    histories: Mapping[str, Sequence[Mapping[str, float]]],
    models: Sequence[Mapping[str, Any]],
    path: pathlib.Path,
) -> None:
    """Draws a run: loss and accuracy of each stage by epoch, λ if it was annealed, and the test accuracies.

    Args:
        histories: Rows of each stage's history, by role; a stage without rows is left out.
        models: `results["models"]` of the run.
        path: The PNG file.
    """
    figure, (losses, accuracies, tests) = plt.subplots(
        1, 3, figsize=(15, 4.5), gridspec_kw=_RUN_MARGINS
    )
    for colour, (role, rows) in zip(COLOURS, histories.items(), strict=False):
        if not rows:
            continue
        epochs = [row["epoch"] for row in rows]
        # What a distiller minimises is on another scale: compare what all stages have, the labels.
        hard = [row.get("hard_loss", row["loss"]) for row in rows]
        losses.plot(epochs, hard, color=colour, label=role)
        accuracies.plot(
            epochs, [100 * row["accuracy"] for row in rows], color=colour, label="training"
        )
        if "val_accuracy" in rows[0]:
            accuracies.plot(
                epochs, [100 * row["val_accuracy"] for row in rows], color=colour, linestyle="--"
            )
        if "coefficient" in rows[0]:
            twin = losses.twinx()
            twin.plot(epochs, [row["coefficient"] for row in rows], color=colour, linestyle=":")
            twin.set_ylabel("coefficient λ (dotted)", color=INK)
            twin.set_ylim(-0.05, 1.05)
    label(losses, "Training loss on the labels", "epoch", "loss")
    validated = any("val_accuracy" in rows[0] for rows in histories.values() if rows)
    title = "Accuracy: training (line), validation (dashed)" if validated else "Training accuracy"
    label(accuracies, title, "epoch", "accuracy (%)")
    if losses.lines:
        losses.legend(frameon=False, fontsize=8)
    for axes in (losses, accuracies):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    # Longer names would not fit into the margin.
    _bars(tests, {textwrap.fill(m["role"], 24): (m["accuracy"],) for m in models})
    _save(figure, path)


def plot_comparison(accuracies: Mapping[str, Sequence[float]], path: pathlib.Path) -> None:
    """Draws the mean test accuracy of each row with every seed as a point.

    Args:
        accuracies: For each row the accuracy of each seed, 0 to 1.
        path: The PNG file.
    """
    figure, axes = plt.subplots(figsize=(8, 0.6 * len(accuracies) + 1.6), layout="constrained")
    _bars(axes, accuracies)
    _save(figure, path)


def plot_confusion(
    matrices: Mapping[str, np.ndarray], class_names: Sequence[str], path: pathlib.Path
) -> None:
    """Draws a confusion matrix for each model: rows are labels, columns what it said, in per cent of the row.

    Args:
        matrices: Counts, `[classes, classes]`, by the model's name.
        class_names: One a class; written out, as are the numbers, where there are at most 20.
        path: The PNG file.
    """
    # Room for its numbers.
    readable = len(class_names) <= _MOST_CLASSES
    size = max(5.0, 0.36 * len(class_names) + 1.6) if readable else 5.0
    columns = min(len(matrices), 3)
    rows = -(-len(matrices) // columns)
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(size * columns, (size - 0.4) * rows),
        squeeze=False,
        layout="constrained",
    )
    for axes in grid.flat[len(matrices) :]:
        axes.set_axis_off()
    for axes, (name, counts) in zip(grid.flat, matrices.items(), strict=False):
        shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        image = axes.imshow(shares, vmin=0, vmax=100, cmap="viridis")
        axes.set_title(textwrap.fill(name, 44, break_long_words=True), fontsize=10, color=INK)
        axes.set_xlabel("said")
        axes.set_ylabel("label")
        if readable:
            _write_numbers(axes, shares)
            axes.set_xticks(range(len(class_names)), class_names, rotation=90)
            axes.set_yticks(range(len(class_names)), class_names)
    figure.colorbar(image, ax=grid, label="% of the label's images", shrink=0.8)
    _save(figure, path)


def _write_numbers(axes: Axes, shares: np.ndarray) -> None:
    for (row, column), share in np.ndenumerate(shares):
        if share:
            colour = "#ffffff" if share < 50 else "#111111"
            # A share below half a per cent is not none.
            text = f"{share:.0f}" if share >= 0.5 else "<1"
            axes.text(column, row, text, color=colour, ha="center", va="center", fontsize=7)


def _bars(axes: Axes, accuracies: Mapping[str, Sequence[float]]) -> None:
    names = list(accuracies)
    means = [100 * sum(values) / len(values) for values in accuracies.values()]
    lowest = min(100 * min(values) for values in accuracies.values())
    highest = max(100 * max(values) for values in accuracies.values())
    margin = max(highest - lowest, 1.0)
    positions = range(len(names))
    colours = [COLOURS[index % len(COLOURS)] for index in positions]
    axes.barh(positions, means, color=colours, alpha=0.55, height=0.6)
    for position, (mean, values) in enumerate(zip(means, accuracies.values(), strict=True)):
        if len(values) > 1:
            axes.plot(
                [100 * v for v in values], [position] * len(values), "o", color=INK, markersize=4
            )
        axes.text(highest + 0.12 * margin, position, f"{mean:.2f}", va="center", color=INK)
    axes.set_yticks(positions, names)
    axes.invert_yaxis()
    # Bars that start at zero would hide what is compared; the axis says where it starts.
    start = max(0.0, lowest - margin)
    axes.set_xlim(start, highest + 0.5 * margin)
    title = "Test accuracy (axis does not start at zero)" if start else "Test accuracy"
    label(axes, title, "accuracy (%)", "")
    axes.grid(visible=False, axis="y")


def _save(figure: plt.Figure, path: pathlib.Path) -> None:
    with whole_file(path) as draft:
        figure.savefig(draft, dpi=120)
    plt.close(figure)
