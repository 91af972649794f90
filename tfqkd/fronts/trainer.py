"""A training, as a front offers it: its state can be written and read, and watchers follow it."""

import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from tfqkd.core.schedulers import Scheduler
from tfqkd.fronts.view import View

Logits = Any
"""Kept logits of one view, as the front reads them: float16 `[examples, classes]`."""


class Position(NamedTuple):
    """Where a training stands.

    Attributes:
        epoch: Finished epochs.
        step: Finished steps of the epoch after them.
    """

    epoch: int
    step: int

    def __str__(self) -> str:
        step = f" and {self.step} steps" if self.step else ""
        return f"epoch {self.epoch}{step}"


class ForeignStateError(ValueError):
    """A state that was read is whole, but of another training."""


class Watcher:
    """Follows a training; its methods have the names of Keras' callbacks and are called when those are.

    Logs hold the metrics by name, as numbers or what `float` accepts, and at the end of an epoch the
    learning rate as `learning_rate`. An error that a watcher raises ends the training.

    Attributes:
        stops: Whether the training is over; asked at the end of each epoch.
    """

    stops = False

    def on_train_begin(self) -> None:
        """Before the first step."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Before an epoch, counted from 0."""

    def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
        """After a call of the step, whose last step has the number `batch` in its epoch."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """After an epoch and its validation."""

    def on_train_end(self) -> None:
        """After the last epoch."""


class Divergence(Protocol):
    """Watches a training for what is not finite."""

    def require_none(self) -> None:
        """Raises ValueError if a step has diverged; waits for the steps that were started."""

    def require_finite_weights(self, where: str) -> None:
        """Raises ValueError unless all weights are finite; `where` is the position, for the message."""


class Trainer(Protocol):
    """A network that is about to be trained, with the state that a checkpoint keeps: optimizer, averages,
    random states.

    Attributes:
        whole_epochs: Whether it can resume only between epochs, since an epoch is one call.
    """

    whole_epochs: bool

    @property
    def view(self) -> View:
        """The variables of this training, for methods."""

    @property
    def divergence(self) -> Divergence:
        """Watches this training, from when it is first asked for."""

    def write_state(self, directory: pathlib.Path) -> None:
        """Writes all that a training needs to go on; all workers must call this."""

    def read_state(self, directory: pathlib.Path) -> None:
        """Reads what `write_state` wrote; raises ForeignStateError if it does not fit."""

    def damage(self, directory: pathlib.Path, *, has_averages: bool) -> str:
        """Says which checksum of what was written does not hold; nothing if all do."""

    def write_averages(self, directory: pathlib.Path) -> None:
        """Writes the sums behind the averages of an epoch; all workers must call this."""

    def read_averages(self, directory: pathlib.Path) -> None:
        """Reads what `write_averages` wrote; raises ForeignStateError if it does not fit."""

    def fit(
        self,
        start: Position,
        teacher_logits: Sequence[Logits],
        watchers: Sequence[Watcher | Scheduler | Any],
    ) -> None:
        """Trains from `start` to the end; `watchers` may hold callbacks of the front's own Keras."""

    def finish(self) -> None:
        """Does what follows the last step, where a training was stopped just there."""
