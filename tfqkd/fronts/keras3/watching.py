"""Watchers of a training as callbacks of Keras 3."""

from collections.abc import Sequence
from typing import Any

import keras

from tfqkd.fronts.trainer import Watcher


def as_callbacks(watchers: Sequence[Any], steps_in_call: int = 1) -> list[Any]:
    """Returns watchers as callbacks of Keras 3; what is none is left as it is.

    Args:
        watchers: Watchers, callbacks of Keras 3, or None.
        steps_in_call: Of what Keras takes for one batch.
    """
    found = [each for each in watchers if each is not None]
    steps = _Steps(steps_in_call)
    callbacks = [_Callback(each, steps) if isinstance(each, Watcher) else each for each in found]
    return [steps, *callbacks]


class _Steps(keras.callbacks.Callback):
    """Tells those behind it how many steps there are in an epoch, and the learning rate at its end."""

    def __init__(self, in_call: int) -> None:
        super().__init__()
        self.in_call, self.rate = in_call, 0.0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        # They all hold the same dictionary.
        self.params["steps"] *= self.in_call

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.rate = float(self.model.optimizer.learning_rate)


class _Callback(keras.callbacks.Callback):
    # Logs stay on their device until somebody makes numbers of them.
    async_safe = True

    def __init__(self, watcher: Watcher, steps: _Steps) -> None:
        super().__init__()
        self._watcher, self._steps = watcher, steps

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._watcher.on_train_begin()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._watcher.on_epoch_begin(epoch)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        last = (batch + 1) * self._steps.in_call - 1
        self._watcher.on_train_batch_end(last, logs or {})

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._watcher.on_epoch_end(epoch, {**(logs or {}), "learning_rate": self._steps.rate})
        if self._watcher.stops:
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self._watcher.on_train_end()
