"""A stage that diverges ends at once, before its weights are kept."""

import math
from typing import Any

from tfqkd.compat import keras


class RequireFiniteLoss(keras.callbacks.Callback):
    """Ends training with an error at the first step whose loss is not finite.

    Keras' own `TerminateOnNaN` ends it as if all were well: the next stage would learn from the ruin.

    Args:
        title: What is trained, for the message.

    Raises:
        ValueError: During `fit`, if the loss is NaN or infinite.
    """

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title = title

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks at the loss."""
        loss = float((logs or {})["loss"])
        if not math.isfinite(loss):
            raise ValueError(
                f"The loss must stay finite. Received: {loss} in epoch {self._epoch + 1} of the "
                f"{self._title}. Lower its learning rate, or let it rise over some --warmup_epochs."
            )
