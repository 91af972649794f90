"""Plain tables, for the terminal and for Markdown."""

import io
from collections.abc import Collection
from typing import Any, Literal

from rich import box
from rich.console import Console
from rich.table import Table as RichTable


class Table:
    """Rows under headings; the first column is text, the others are aligned as numbers.

    Args:
        headings: One for each column.
        text: Headings of further columns that are text.

    Attributes:
        headings: As given.
        rows: The cells as text.
    """

    def __init__(self, *headings: str, text: Collection[str] = ()) -> None:
        self.headings = headings
        self._text = {headings[0], *text}
        self.rows: list[list[str]] = []

    def add(self, *cells: Any) -> None:
        """Adds a row: a cell for each heading."""
        self.rows.append([str(cell) for cell in cells])

    def __str__(self) -> str:
        return self._render(box.SIMPLE_HEAD)

    def markdown(self) -> str:
        """Returns the table in Markdown."""
        return self._render(box.MARKDOWN)

    def _render(self, style: box.Box) -> str:
        table = RichTable(box=style, pad_edge=style is box.MARKDOWN)
        for heading in self.headings:
            justify: Literal["left", "right"] = "left" if heading in self._text else "right"
            table.add_column(heading, justify=justify, no_wrap=True)
        # In Markdown a bar would end the cell.
        bar = r"\|" if style is box.MARKDOWN else "|"
        for row in self.rows:
            table.add_row(*(cell.replace("|", bar) for cell in row))
        text = io.StringIO()
        # As wide as it needs, also where the output is a file: a cut-off number is worse than a long line.
        Console(file=text, width=10_000, markup=False, highlight=False).print(table)
        return "\n".join(line.rstrip() for line in text.getvalue().splitlines()).strip("\n")
