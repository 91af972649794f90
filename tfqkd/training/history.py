"""The history of a stage: a CSV file with a row for each epoch."""

import csv
import io
import pathlib
import time
from typing import Any

from tfqkd.fronts.trainer import Watcher
from tfqkd.storage import write_atomically


class History(Watcher):
    """Keeps a row for each finished epoch: epoch, seconds, learning rate and the other logs.

    The file is replaced whole, so that a run which is killed leaves no half row and loses none.

    Args:
        path: The CSV file. Rows of `first_epoch` and later, which an interrupted run left, are dropped.
        first_epoch: The epoch that training starts or goes on with.

    Raises:
        ValueError: If the row of an epoch before it is missing or damaged.
    """

    def __init__(self, path: pathlib.Path, first_epoch: int = 0) -> None:
        self._path = path
        self._names: list[str] = []
        self._text = ""
        rows = _read(path)[:first_epoch] if first_epoch else []
        if len(rows) < first_epoch:
            raise _damaged(path, f"{len(rows)} rows after {first_epoch} epochs")
        for row in rows:
            self._add(row)

    def on_train_begin(self) -> None:
        """Drops the rows of epochs that run again."""
        write_atomically(self._path, self._text)

    def on_epoch_begin(self, epoch: int) -> None:
        """Starts the clock."""
        self._start = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Writes the row."""
        row = {
            "epoch": epoch + 1,
            "seconds": round(time.monotonic() - self._start, 3),
            "learning_rate": logs["learning_rate"],
            **{name: float(value) for name, value in logs.items()},
        }
        self._add(row)
        write_atomically(self._path, self._text)

    def _add(self, row: dict[str, Any]) -> None:
        """Appends a row to the text: after a thousand epochs a thousand rows would take long to format."""
        text = io.StringIO(newline="")
        if not self._names:
            self._names = list(row)
            csv.DictWriter(text, self._names).writeheader()
        csv.DictWriter(text, self._names).writerow(row)
        self._text += text.getvalue()


def read_history(path: pathlib.Path) -> list[dict[str, float]]:
    """Returns the rows of a history, oldest first; none if the file is missing.

    Raises:
        ValueError: If it is damaged.
    """
    return [{name: float(value) for name, value in row.items()} for row in _read(path)]


def _read(path: pathlib.Path) -> list[dict[str, str]]:
    """Reads the rows as they stand, all of which are numbers, of the epochs from 1 on."""
    if not path.exists():
        return []
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        numbers = [[float(value) for value in row.values()] for row in rows]
    except (ValueError, TypeError, csv.Error) as error:
        raise _damaged(path, str(error)) from error
    epochs = [number[0] for number in numbers]
    if epochs != list(range(1, len(rows) + 1)):
        raise _damaged(path, f"the epochs {epochs}")
    return rows


def _damaged(path: pathlib.Path, what: str) -> ValueError:
    return ValueError(
        f"A history must hold a row for each epoch, as it was written. Received: {path} ({what}). "
        f"Restore it, or remove {path.parent}; the stage then starts from its beginning."
    )
