"""A page: one HTML file with its figures inside, which needs no network and no script."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import jinja2

from tfqkd.reporting.drawings import Drawing, Missing
from tfqkd.storage import write_atomically
from tfqkd.tables import Table

PAGE_FILE = "report.html"
FIGURES_DIRECTORY = "figures"


@dataclasses.dataclass(frozen=True)
class PageTable:
    """A table of a page.

    Attributes:
        title: Heading.
        headings: One a column.
        rows: Cells as they are shown.
        note: Under the table.
        marked: Numbers of the rows to stand out.
    """

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[Any]]
    note: str = ""
    marked: Sequence[int] = ()


def table_of(title: str, table: Table, note: str = "", marked: Sequence[int] = ()) -> PageTable:
    """Returns a table of the terminal as one of a page."""
    return PageTable(title, table.headings, table.rows, note, marked)


@dataclasses.dataclass(frozen=True)
class PageText:
    """A text that is shown as it is, such as a file.

    Attributes:
        title: Heading.
        body: The text.
    """

    title: str
    body: str


def write_page(
    directory: pathlib.Path,
    title: str,
    lead: str,
    *,
    findings: Sequence[str] = (),
    tables: Sequence[PageTable] = (),
    figures: Sequence[Drawing | Missing] = (),
    details: Sequence[PageTable] = (),
    texts: Sequence[PageText] = (),
) -> pathlib.Path:
    """Writes `report.html`, and each figure as PNG and CSV into `figures`.

    Args:
        directory: Where to.
        title: Of the page.
        lead: What it is about, in a sentence.
        findings: Sentences that say what came out.
        tables: Above the figures.
        figures: In order; those that could not be drawn say why behind the others.
        details: Tables below the figures.
        texts: At the end.

    Returns:
        The page.
    """
    drawings = [figure for figure in figures if isinstance(figure, Drawing)]
    for drawing in drawings:
        drawing.save(directory / FIGURES_DIRECTORY)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tfqkd.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    html = environment.get_template("page.html").render(
        title=title,
        lead=lead,
        findings=findings,
        tables=tables,
        drawings=drawings,
        missing=[figure for figure in figures if isinstance(figure, Missing)],
        details=details,
        texts=texts,
        folder=FIGURES_DIRECTORY,
    )
    path = directory / PAGE_FILE
    write_atomically(path, html)
    return path
