"""The picture of each network's card: its place among the others, and what it knows of each class."""

from collections.abc import Mapping, Sequence

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfqkd.data.cifar import CLASS_NAMES
from tfqkd.reporting.style import COLOURS, INK, label

BLUE, GREY = COLOURS[0], "#b0b0b0"
FEW = 20
"""So many classes have a name each; of more the worst, the middle and the best one."""


def card(
    name: str, measured: Mapping[str, Mapping[str, float]], classes: Mapping[str, Sequence[float]]
) -> Figure:
    """Draws the picture of a network.

    Args:
        name: Of the network, NETWORK_DATASET.
        measured: `accuracy` and `bytes` of every network.
        classes: Per cent of the test images of each class that a network gets right, for every network.
    """
    dataset = name.rpartition("_")[2]
    figure, (place, each) = plt.subplots(1, 2, figsize=(8.4, 3), layout="constrained")
    for other in sorted(row for row in measured if row.endswith(f"_{dataset}")):
        _point(place, other.rpartition("_")[0], measured[other], other == name)
    place.set_xscale("log")
    place.set_xlim(5e4, 2e7)
    place.set_xticks([1e5, 1e6, 1e7], ["100,000", "1,000,000", "10,000,000"])
    place.margins(y=0.25)
    label(place, f"among the networks of {dataset}", "bytes of the LiteRT file", "test accuracy, %")
    shares = dict(zip(CLASS_NAMES[dataset], classes[name], strict=True))
    _draw_classes(each, dict(sorted(shares.items(), key=lambda item: item[1])))
    return figure


def _point(axes: Axes, name: str, row: Mapping[str, float], is_it: bool) -> None:
    colour = BLUE if is_it else GREY
    axes.plot(row["bytes"], row["accuracy"], "o", markersize=9 if is_it else 6, color=colour)
    axes.annotate(
        name,
        (row["bytes"], row["accuracy"]),
        xytext=(8, 0),
        textcoords="offset points",
        va="center",
        color=INK if is_it else "#777777",
        fontweight="bold" if is_it else "normal",
    )


def _draw_classes(axes: Axes, shares: Mapping[str, float]) -> None:
    """Draws a bar for each class, the worst first."""
    names, right = list(shares), list(shares.values())
    if len(names) <= FEW:
        shown = tuple(range(len(names)))
        axes.barh(shown, right, color=BLUE)
    else:
        shown = (0, len(names) // 2, len(names) - 1)
        edges = [index - 0.5 for index in range(len(names) + 1)]
        axes.stairs(right, edges, orientation="horizontal", fill=True, color=BLUE)
    axes.set_yticks(shown, [names[index] for index in shown])
    axes.set_ylim(-0.7, len(names) - 0.3)
    axes.set_xlim(0, 100)
    label(axes, "test images of each class", "right, %", "")
