"""Watchers of a training as callbacks of Keras."""

from collections.abc import Sequence
from typing import Any

from tfqkd.compat import keras
from tfqkd.fronts.trainer import Watcher


def as_callbacks(watchers: Sequence[Any]) -> list[Any]:
    """Returns watchers as callbacks of Keras; what is none is left as it is."""
    return [_callback(each) if isinstance(each, Watcher) else each for each in watchers]


def _callback(watcher: Watcher) -> keras.callbacks.Callback:
    # Keras reads the logs of every step from the device for whoever wants them as numbers.
    by_step = type(watcher).on_train_batch_end is not Watcher.on_train_batch_end
    return (_OfSteps if by_step else _OfEpochs)(watcher)


class _OfEpochs(keras.callbacks.Callback):
    def __init__(self, watcher: Watcher) -> None:
        super().__init__()
        self._watcher = watcher

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._watcher.on_train_begin()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._watcher.on_epoch_begin(epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        rate = float(self.model.optimizer.learning_rate.numpy())
        self._watcher.on_epoch_end(epoch, {**(logs or {}), "learning_rate": rate})
        if self._watcher.stops:
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self._watcher.on_train_end()


class _OfSteps(_OfEpochs):
    def __init__(self, watcher: Watcher) -> None:
        super().__init__(watcher)
        # Metrics stay on their device until somebody makes numbers of them.
        self._supports_tf_logs = True

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._watcher.on_train_batch_end(batch, logs or {})
