"""What tells that a training has diverged."""

import math
from typing import Any

import keras
import numpy as np

from tfqkd.fronts.keras3.replicas import values
from tfqkd.fronts.keras3.state import synchronize
from tfqkd.fronts.trainer import Watcher


class Divergence(Watcher):
    """Notes the first losses that are not finite; see `tfqkd.fronts.trainer.Divergence`.

    A loss is the mean of its epoch so far, which stays what it is once a step was not finite: it is looked
    at when somebody asks, so that no step waits.

    Args:
        title: What is trained, for the message.
        network: What trains.
        trained: The network.
    """

    def __init__(self, title: str, network: keras.Model, trained: keras.Model) -> None:
        self._title, self._network, self._trained = title, network, trained
        self._found, self._epoch = "", 0
        self._last: tuple[int, dict[str, Any]] = (0, {})

    def on_epoch_begin(self, epoch: int) -> None:
        """Starts over."""
        self._epoch, self._last = epoch, (0, {})

    def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
        """Keeps the means of the epoch."""
        self._last = batch, logs

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Looks at the losses of the epoch, and of the validation."""
        self._look(logs, f"in epoch {epoch + 1}")

    def require_none(self) -> None:
        """Raises ValueError if a step has diverged."""
        step, logs = self._last
        self._look(logs, f"by step {step + 1} of epoch {self._epoch + 1}")
        if self._found:
            raise ValueError(
                f"The loss must stay finite. Received: {self._found} of the {self._title}. {_ADVICE}"
            )

    def require_finite_weights(self, where: str) -> None:
        """Raises ValueError unless all weights are finite."""
        synchronize(self._network)
        weights = self._trained.weights
        for weight, value in zip(weights, values(self._network, weights), strict=True):
            if not np.isfinite(value).all():
                raise ValueError(
                    f"The weights must stay finite. Received: {weight.path} after {where} of the "
                    f"{self._title}. {_ADVICE}"
                )

    def _look(self, logs: dict[str, Any], where: str) -> None:
        losses = {name: float(value) for name, value in logs.items() if "loss" in name}
        bad = [f"{name} {value}" for name, value in losses.items() if not math.isfinite(value)]
        if bad and not self._found:
            self._found = f"{', '.join(bad)} {where}"


_ADVICE = (
    "The last good checkpoint is kept. Lower its learning rate, or let it rise over some epochs."
)
