"""Watchers of a training as callbacks of Keras 3."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras

from tfqkd.core.schedulers import Scheduler
from tfqkd.fronts.trainer import Watcher


@dataclasses.dataclass(frozen=True)
class Calls:
    """How the calls of a `fit` are the steps of a training.

    Attributes:
        epochs: Of the training.
        steps: Of an epoch.
        in_call: Steps of what Keras takes for one batch.
        made: Steps of the epoch that were made before.
        begins: Whether the training begins with this `fit`.
        ends: Whether it ends with it.
    """

    epochs: int
    steps: int
    in_call: int = 1
    made: int = 0
    begins: bool = True
    ends: bool = True

    def rest(self, made: int) -> "Calls":
        """Returns those of a `fit` of the rest of an epoch, after which another `fit` follows."""
        return dataclasses.replace(self, made=made, ends=False)

    def behind_rest(self) -> "Calls":
        """Returns those of the other one."""
        return dataclasses.replace(self, begins=False)

    def step(self, batch: int) -> int:
        """Returns the number of the last step of a call in its epoch; batches are counted by Keras."""
        return min(self.made + (batch + 1) * self.in_call, self.steps) - 1


def as_callbacks(watchers: Sequence[Any], calls: Calls) -> list[Any]:
    """Returns watchers as callbacks of Keras 3; what is none is left as it is.

    Args:
        watchers: Watchers, callbacks of Keras 3, schedulers or None.
        calls: Of the `fit` that they are for.
    """
    found = [each for each in watchers if each is not None]
    counts = _Counts(calls)
    return [counts, *(_callback(each, counts) for each in found)]


def _callback(watcher: Any, counts: "_Counts") -> Any:
    if isinstance(watcher, Scheduler) and not counts.calls.begins:
        return dataclasses.replace(watcher, first_step=0)
    return _Callback(watcher, counts) if isinstance(watcher, Watcher) else watcher


class _Counts(keras.callbacks.Callback):
    """Tells those behind it how many epochs and steps there are, and the learning rate at an epoch's end."""

    def __init__(self, calls: Calls) -> None:
        super().__init__()
        self.calls, self.rate = calls, 0.0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        # They all hold the same dictionary.
        self.params |= {"epochs": self.calls.epochs, "steps": self.calls.steps}

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.rate = float(self.model.optimizer.learning_rate)


class _Callback(keras.callbacks.Callback):
    """Not `async_safe`: Keras would call it from another thread, for several steps at a time."""

    def __init__(self, watcher: Watcher, counts: _Counts) -> None:
        super().__init__()
        self._watcher, self._counts, self._calls = watcher, counts, counts.calls

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if self._calls.begins:
            self._watcher.on_train_begin()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._watcher.on_epoch_begin(epoch)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._watcher.on_train_batch_end(self._calls.step(batch), logs or {})

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._watcher.on_epoch_end(epoch, {**(logs or {}), "learning_rate": self._counts.rate})
        if self._watcher.stops:
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self._calls.ends:
            self._watcher.on_train_end()
