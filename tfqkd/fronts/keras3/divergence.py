"""What tells that a training has diverged."""

import math
from typing import Any

import keras
import numpy as np

from tfqkd.fronts.trainer import Watcher

_ops = keras.ops


class Divergence(Watcher):
    """Notes the first epoch whose loss is not finite; see `tfqkd.fronts.trainer.Divergence`.

    Args:
        title: What is trained, for the message.
        trained: The network.
    """

    def __init__(self, title: str, trained: keras.Model) -> None:
        self._title, self._trained = title, trained
        self._found = ""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Looks at the losses of the epoch."""
        losses = {name: float(value) for name, value in logs.items() if "loss" in name}
        bad = [f"{name} {value}" for name, value in losses.items() if not math.isfinite(value)]
        if bad and not self._found:
            self._found = f"{', '.join(bad)} in epoch {epoch + 1}"

    def require_none(self) -> None:
        """Raises ValueError if an epoch has diverged."""
        if self._found:
            raise ValueError(
                f"The loss must stay finite. Received: {self._found} of the {self._title}. {_ADVICE}"
            )

    def require_finite_weights(self, where: str) -> None:
        """Raises ValueError unless all weights are finite."""
        for weight in self._trained.weights:
            if not np.isfinite(_ops.convert_to_numpy(_ops.cast(weight.value, "float32"))).all():
                raise ValueError(
                    f"The weights must stay finite. Received: {weight.path} after {where} of the "
                    f"{self._title}. {_ADVICE}"
                )


_ADVICE = (
    "The last good checkpoint is kept. Lower its learning rate, or let it rise over some epochs."
)
