"""What a benchmark found: a table to read, and the same as JSON."""

import dataclasses
import json
import pathlib
from typing import Any

from tfqkd.tables import Table


@dataclasses.dataclass(frozen=True)
class Result:
    """A part of the benchmark.

    Attributes:
        name: Of the part; names its JSON file.
        title: What was measured.
        headings: Of the table.
        rows: Its cells.
        notes: Lines below it.
        data: The figures behind it, as JSON values.
    """

    name: str
    title: str
    headings: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    notes: tuple[str, ...] = ()
    data: Any = None

    def markdown(self) -> str:
        """Returns title, table and notes."""
        table = Table(*self.headings)
        for row in self.rows:
            table.add(*row)
        return "\n\n".join([f"### {self.title}", table.markdown(), *self.notes])

    def write(self, directory: pathlib.Path) -> None:
        """Writes NAME.json and NAME.md."""
        directory.mkdir(parents=True, exist_ok=True)
        content = json.dumps(dataclasses.asdict(self), indent=2, default=str)
        (directory / f"{self.name}.json").write_text(content + "\n")
        (directory / f"{self.name}.md").write_text(self.markdown() + "\n")
