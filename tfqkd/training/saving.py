"""When checkpoints are written: now and then, after every epoch, and when the process is asked to stop."""

import dataclasses
import signal
import time
from typing import Any

from tfqkd.fronts.trainer import Divergence, Position, Watcher
from tfqkd.fronts.workers import Workers
from tfqkd.process.interruption import Interrupted, requested
from tfqkd.training.checkpoints import Checkpoints
from tfqkd.training.looks import Looks


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


class SaveCheckpoints(Watcher):
    """Saves checkpoints during `fit`, and ends it when a signal asks for that or it has diverged.

    It must come last of the watchers: what the others wrote belongs to the checkpoint, and a step that one
    of them refuses is not kept. Whether the training has diverged is asked before every checkpoint, at the
    end of an epoch and about once a second; workers agree on a signal, and on minutes that have passed, as
    often. Every other step goes by without waiting.

    Args:
        checkpoints: Restored already.
        divergence: Watches the training.
        start: Where training goes on.
        steps_per_epoch: Of the training.
        every: How often inside an epoch; None where a training goes on between epochs alone.
        title: What is trained, for the message.
        workers: Those that train together: they must save at the same step.

    Raises:
        Interrupted: During `fit`, if a signal asked to stop; after a checkpoint.
        ValueError: During `fit`, if a loss, or a weight that is to be kept, is not finite.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        divergence: Divergence,
        start: Position,
        steps_per_epoch: int,
        every: Interval | None,
        title: str,
        workers: Workers,
    ) -> None:
        self._checkpoints, self._divergence = checkpoints, divergence
        self._start, self._steps = start, steps_per_epoch
        self._every, self._title, self._workers = every or Interval(), title, workers
        self._inside = every is not None
        self._looks = Looks(workers)
        self._last = (0, time.monotonic())

    def on_epoch_begin(self, epoch: int) -> None:
        """Gives the first epoch the averages that it was interrupted with."""
        self._epoch = epoch
        first = epoch == self._start.epoch and self._start.step > 0
        if first:
            self._checkpoints.restore_metrics()
        self._last = (self._start.step if first else 0, self._last[1])

    def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
        """Saves if it is time or a signal has come."""
        step = batch + 1
        if step == self._steps:
            # The end of the epoch follows, and keeps what was validated too.
            self._divergence.require_none()
            return
        due = 0 < self._every.steps <= step - self._last[0]
        stop = requested() is not None
        if self._looks.due(stop):
            self._divergence.require_none()
            late = 0 < self._every.seconds <= time.monotonic() - self._last[1]
            late, stop = self._looks.agree(late, stop)
            due = due or late or stop
        else:
            stop = False
        if due and self._inside:
            self._save(Position(self._epoch, step), stop)
        elif stop:
            number = requested() or signal.SIGTERM
            raise Interrupted(number, f"epoch {self._epoch} of the {self._title}")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Saves."""
        (stop,) = self._workers.any(requested() is not None)
        self._save(Position(epoch + 1, 0), stop)

    def _save(self, position: Position, stop: bool) -> None:
        self._divergence.require_none()
        self._divergence.require_finite_weights(str(position))
        self._checkpoints.save(position)
        self._last = (position.step, time.monotonic())
        if stop:
            # Another worker may have been asked.
            number = requested() or signal.SIGTERM
            raise Interrupted(number, f"{position} of the {self._title}")
