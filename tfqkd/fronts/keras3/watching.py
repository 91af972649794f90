"""Watchers of a training as callbacks of Keras 3."""

from collections.abc import Sequence
from typing import Any

import keras

from tfqkd.fronts.trainer import Watcher


def as_callbacks(watchers: Sequence[Any]) -> list[Any]:
    """Returns watchers as callbacks of Keras 3; what is none is left as it is."""
    found = [each for each in watchers if each is not None]
    return [_Callback(each) if isinstance(each, Watcher) else each for each in found]


class _Callback(keras.callbacks.Callback):
    # Logs stay on their device until somebody makes numbers of them.
    async_safe = True

    def __init__(self, watcher: Watcher) -> None:
        super().__init__()
        self._watcher = watcher

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._watcher.on_train_begin()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._watcher.on_epoch_begin(epoch)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._watcher.on_train_batch_end(batch, logs or {})

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        rate = float(self.model.optimizer.learning_rate)
        self._watcher.on_epoch_end(epoch, {**(logs or {}), "learning_rate": rate})

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self._watcher.on_train_end()
