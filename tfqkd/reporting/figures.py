"""Confusion matrices, as a PNG file."""

import pathlib
import textwrap
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from tfqkd.reporting.style import INK
from tfqkd.storage import whole_file

mpl.use("Agg")

_MOST_CLASSES = 20  # Whose names and numbers can be read in a confusion matrix.


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
    figure, panels = plt.subplots(
        rows,
        columns,
        figsize=(size * columns, (size - 0.4) * rows),
        squeeze=False,
        layout="constrained",
    )
    for axes in panels.flat[len(matrices) :]:
        axes.set_axis_off()
    for axes, (name, counts) in zip(panels.flat, matrices.items(), strict=False):
        shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        image = axes.imshow(shares, vmin=0, vmax=100, cmap="viridis")
        axes.set_title(textwrap.fill(name, 44, break_long_words=True), fontsize=10, color=INK)
        axes.set_xlabel("said")
        axes.set_ylabel("label")
        if readable:
            _write_numbers(axes, shares)
            axes.set_xticks(range(len(class_names)), class_names, rotation=90)
            axes.set_yticks(range(len(class_names)), class_names)
    figure.colorbar(image, ax=panels, label="% of the label's images", shrink=0.8)
    with whole_file(path) as draft:
        figure.savefig(draft, dpi=120)
    plt.close(figure)


def _write_numbers(axes: Axes, shares: np.ndarray) -> None:
    for (row, column), share in np.ndenumerate(shares):
        if share:
            colour = "#ffffff" if share < 50 else "#111111"
            # A share below half a per cent is not none.
            text = f"{share:.0f}" if share >= 0.5 else "<1"
            axes.text(column, row, text, color=colour, ha="center", va="center", fontsize=7)
