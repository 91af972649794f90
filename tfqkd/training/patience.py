"""Ends a training that has stopped getting better on the validation images."""

from collections.abc import Sequence
from typing import Any

from tfqkd.fronts.trainer import Watcher

_ACCURACY = "val_accuracy"


class Patience(Watcher):
    """Stops a training whose validation accuracy has not risen for some epochs: a function of its history.

    Args:
        epochs: How many.
        history: The rows of the epochs before, where a training goes on.
    """

    def __init__(self, epochs: int, history: Sequence[dict[str, float]] = ()) -> None:
        self._epochs = epochs
        self._best, self._waited = float("-inf"), 0
        for row in history:
            self._note(row[_ACCURACY])

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Compares the epoch with the best one."""
        self._note(float(logs[_ACCURACY]))

    def _note(self, accuracy: float) -> None:
        better = accuracy > self._best
        self._best = max(accuracy, self._best)
        self._waited = 0 if better else self._waited + 1
        self.stops = self._waited >= self._epochs
