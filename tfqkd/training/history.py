"""The history of a stage: a CSV file with a row for each epoch."""

import csv
import io
import pathlib
import time
from typing import Any

from tfqkd.compat import keras
from tfqkd.training.directory import write_atomically


class History(keras.callbacks.Callback):
    """Keeps a row for each finished epoch: epoch, seconds, learning rate and what `fit` logs.

    The file is replaced whole, so that a run which is killed leaves no half row and loses none.

    Args:
        path: The CSV file. Rows of `first_epoch` and later, which an interrupted run left, are dropped.
        first_epoch: The epoch that training starts or goes on with.
    """

    def __init__(self, path: pathlib.Path, first_epoch: int = 0) -> None:
        super().__init__()
        self._path = path
        self._rows: list[dict[str, Any]] = list(_read(path)[:first_epoch])
        self._write()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the clock."""
        self._start = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the row."""
        row = {
            "epoch": epoch + 1,
            "seconds": round(time.monotonic() - self._start, 3),
            "learning_rate": float(self.model.optimizer.learning_rate.numpy()),
            **{name: float(value) for name, value in (logs or {}).items()},
        }
        self._rows.append(row)
        self._write()

    def _write(self) -> None:
        text = io.StringIO(newline="")
        if self._rows:
            writer = csv.DictWriter(text, fieldnames=list(self._rows[0]))
            writer.writeheader()
            writer.writerows(self._rows)
        write_atomically(self._path, text.getvalue())


def read_history(path: pathlib.Path) -> list[dict[str, float]]:
    """Returns the rows of a history, oldest first; none if the file is missing."""
    return [{name: float(value) for name, value in row.items()} for row in _read(path)]


def _read(path: pathlib.Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
