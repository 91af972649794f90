"""Figures of trainings: curves by epoch, and what quantization made of each layer."""

import dataclasses
from collections.abc import Sequence

import pandas as pd
from matplotlib.ticker import MaxNLocator

from tfqkd.reporting.drawings import Drawing, new_figure
from tfqkd.reporting.style import COLOURS, GRID, label


@dataclasses.dataclass(frozen=True)
class Curve:
    """The history of one training.

    Attributes:
        name: In the legend; empty for one that stands in the background.
        rows: A row an epoch: `epoch`, `loss`, `accuracy`, and where there are `hard_loss`, `val_accuracy` and
            `coefficient`.
    """

    name: str
    rows: pd.DataFrame

    def loss(self) -> pd.Series:
        """Returns the loss on the labels: what a distiller minimises is on another scale."""
        return self.rows["hard_loss" if "hard_loss" in self.rows else "loss"]


def draw_curves(curves: Sequence[Curve], caption: str) -> Drawing:
    """Draws the loss on the labels and the accuracy by epoch, and λ where there is one."""
    figure = new_figure(11, 3.8)
    losses, accuracies = figure.subplots(1, 2)
    coefficient = None
    kinds = {"val_accuracy" in curve.rows for curve in curves}
    named = [curve.name for curve in curves if curve.name]
    for curve in sorted(curves, key=lambda curve: bool(curve.name)):
        rows = curve.rows
        index = named.index(curve.name) if curve.name else 0
        colour = COLOURS[index % len(COLOURS)] if curve.name else GRID
        # The colours come again, dashed.
        whole = "--" if index >= len(COLOURS) else "-"
        marker = "." if len(rows) == 1 else ""
        losses.plot(
            rows["epoch"],
            curve.loss(),
            color=colour,
            linestyle=whole,
            label=curve.name,
            marker=marker,
        )
        validated = "val_accuracy" in rows
        accuracies.plot(
            rows["epoch"],
            100 * rows["val_accuracy" if validated else "accuracy"],
            color=colour,
            linestyle=whole if validated or kinds == {False} else ":",
            label=curve.name,
            marker=marker,
        )
        if curve.name and "coefficient" in rows:
            coefficient = coefficient or losses.twinx()
            coefficient.plot(rows["epoch"], rows["coefficient"], color=colour, linestyle=":")
    label(losses, "Training loss on the labels", "epoch", "loss (nats)")
    title = "Validation accuracy" if True in kinds else "Training accuracy"
    title += " (dotted: training)" if kinds == {True, False} else ""
    label(accuracies, title, "epoch", "accuracy (%)")
    for axes in (losses, accuracies):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if coefficient:
        coefficient.set_ylim(-0.05, 1.05)
        coefficient.set_ylabel("coefficient λ (dotted)")
        coefficient.spines[["top", "left"]].set_visible(False)
    handles = [line for line in accuracies.lines if line.get_label() in named]
    # Many names would hide the curves: they stand below both.
    columns = min(len(handles), 4)
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=8
    )
    table = pd.concat(
        [curve.rows.assign(name=curve.name) for curve in curves if curve.name], ignore_index=True
    )
    return Drawing("curves", "Loss and accuracy by epoch", caption, figure, table)


def draw_layers(models: dict[str, pd.DataFrame], caption: str) -> Drawing:
    """Draws the share of zeros and the step of every quantized layer.

    Args:
        models: By name, a row a layer: `layer`, `bits`, `zeros` (0 to 1) and `step` (None for float).
        caption: Under the figure.
    """
    figure = new_figure(11, 4)
    zeros, steps = figure.subplots(1, 2)
    width = 0.8 / len(models)
    for index, (name, layers) in enumerate(models.items()):
        rows = layers[layers["step"].notna()]
        positions = [row + (index - (len(models) - 1) / 2) * width for row in range(len(rows))]
        colour = COLOURS[index % len(COLOURS)]
        zeros.bar(positions, 100 * rows["zeros"], width, color=colour, label=name)
        steps.bar(positions, rows["step"].astype(float), width, color=colour, label=name)
    for axes in (zeros, steps):
        axes.set_xticks(range(len(rows)), list(rows["layer"]), rotation=90, fontsize=7)
    label(zeros, "Share of weights that are zero", "", "zeros (%)")
    label(steps, "Quantization step Δ", "", "mean step")
    # Bars may fill their axes: the legend stands beside them.
    handles, names = zeros.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right upper", frameon=False, fontsize=8)
    table = pd.concat(
        [layers.assign(name=name) for name, layers in models.items()], ignore_index=True
    )
    return Drawing("layers", "Layers: zeros and steps", caption, figure, table)
