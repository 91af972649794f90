"""When checkpoints are written: now and then, after every epoch, and when the process is asked to stop."""

import dataclasses
import signal
import time
from typing import Any

from tfqkd.compat import keras
from tfqkd.training.checkpoints import Checkpoints, Position
from tfqkd.training.divergence import require_finite_weights
from tfqkd.training.interruption import Interrupted, requested
from tfqkd.training.workers import Workers


@dataclasses.dataclass(frozen=True)
class Interval:
    """How often checkpoints are written inside an epoch; never if both are zero.

    Attributes:
        steps: Training steps between two checkpoints.
        seconds: Seconds between two checkpoints.
    """

    steps: int = 0
    seconds: float = 0.0

    @classmethod
    def parse(cls, text: str) -> "Interval":
        """Reads "500" as steps, "10m" as minutes and "" as never."""
        if text.endswith("m"):
            return cls(seconds=60 * float(text.removesuffix("m")))
        return cls(steps=int(text or 0))


class SaveCheckpoints(keras.callbacks.Callback):
    """Saves checkpoints during `fit`, and ends it when a signal asks for that.

    It must come last of the callbacks: what the others wrote belongs to the checkpoint, and a step that one
    of them refuses is not kept.

    Args:
        checkpoints: Restored already.
        trained: The network whose weights they keep.
        start: Where training goes on.
        steps_per_epoch: Of the training.
        every: How often inside an epoch.
        title: What is trained, for the message.
        workers: Those that train together: they must save at the same step.

    Raises:
        Interrupted: During `fit`, if a signal asked to stop; after a checkpoint.
        ValueError: During `fit`, if weights that are to be kept are not finite.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        trained: keras.Model,
        start: Position,
        steps_per_epoch: int,
        every: Interval,
        title: str,
        workers: Workers,
    ) -> None:
        super().__init__()
        self._checkpoints, self._trained = checkpoints, trained
        self._start, self._steps = start, steps_per_epoch
        self._every, self._title, self._workers = every, title, workers
        self._supports_tf_logs = True
        self._last = (0, time.monotonic())

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Gives the first epoch the averages that it was interrupted with."""
        self._epoch = epoch
        first = epoch == self._start.epoch and self._start.step > 0
        if first:
            self._checkpoints.restore_metrics()
        self._last = (self._start.step if first else 0, self._last[1])

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Saves if it is time or a signal has come."""
        step = batch + 1
        if step == self._steps:
            return  # The end of the epoch follows, and keeps what was validated too.
        due, stop = self._workers.any(self._due(step), requested() is not None)
        if due or stop:
            self._save(Position(self._epoch, step), stop)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Saves."""
        (stop,) = self._workers.any(requested() is not None)
        self._save(Position(epoch + 1, 0), stop)

    def _due(self, step: int) -> bool:
        last_step, last_time = self._last
        by_steps = 0 < self._every.steps <= step - last_step
        return by_steps or 0 < self._every.seconds <= time.monotonic() - last_time

    def _save(self, position: Position, stop: bool) -> None:
        require_finite_weights(self._trained, f"{position} of the {self._title}")
        self._checkpoints.save(position)
        self._last = (position.step, time.monotonic())
        if stop:
            # Another worker may have been asked.
            number = requested() or signal.SIGTERM
            raise Interrupted(number, f"{position} of the {self._title}")
