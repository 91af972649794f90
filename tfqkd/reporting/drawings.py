"""A drawing: one figure of a page, as SVG in the page, and as PNG and CSV files next to it."""

import dataclasses
import io
import pathlib
import re
from html import escape

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from tfqkd.reporting.style import GRID, INK

_DOTS_PER_INCH = 120
_BLACK = "#000000"  # Of ticks and frames, which nobody gave a colour.


@dataclasses.dataclass(frozen=True)
class Drawing:
    """A figure with what it says.

    Attributes:
        name: Of its files, and its anchor in the page.
        title: Heading.
        caption: What is drawn, and how to read it.
        figure: Drawn in the colours of `style`.
        table: The values drawn.
    """

    name: str
    title: str
    caption: str
    figure: Figure
    table: pd.DataFrame

    def svg(self) -> str:
        """Returns the figure as an SVG element that takes ink and grid from the page around it."""
        text = io.StringIO()
        # Text stays text, in the page's font; the salt makes the ids of this figure its own.
        with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": self.name}):
            self.figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
        svg = text.getvalue()
        svg = svg[svg.index("<svg") :]
        svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
        for ink in (INK, _BLACK):
            svg = svg.replace(ink, "currentColor")
        svg = svg.replace(GRID, "var(--grid)")
        # Figures of one page must not share ids.
        svg = re.sub(r'\bid="', f'id="{self.name}-', svg)
        svg = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{self.name}-", svg)
        # The page gives it its size.
        svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
        svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
        return svg.replace("<svg", f'<svg role="img" aria-label="{escape(self.title)}"', 1)

    def save(self, directory: pathlib.Path) -> None:
        """Writes NAME.png and NAME.csv."""
        directory.mkdir(parents=True, exist_ok=True)
        self.figure.savefig(directory / f"{self.name}.png", dpi=_DOTS_PER_INCH, facecolor="white")
        self.table.to_csv(directory / f"{self.name}.csv", index=False)


@dataclasses.dataclass(frozen=True)
class Missing:
    """A figure that could not be drawn.

    Attributes:
        title: Heading.
        reason: Why not, and what would let it be drawn.
    """

    title: str
    reason: str


def new_figure(width: float, height: float) -> Figure:
    """Returns an empty figure of this size in inches."""
    return Figure(figsize=(width, height), layout="constrained")
