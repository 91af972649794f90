"""How figures look: ink, grid and colours."""

from matplotlib.axes import Axes

INK, GRID = "#333333", "#dddddd"
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9")
"""Okabe and Ito's colours, which colour-blind readers tell apart."""
MARKERS = ("o", "s", "^", "D", "v", "P")


def label(axes: Axes, title: str, x: str, y: str) -> None:
    """Gives axes their title, labels and grid."""
    # At a place of its own: to look for one takes a fifth of the drawing.
    axes.set_title(title, fontsize=10, color=INK, y=1.0)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(color=GRID)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
