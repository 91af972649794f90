"""TensorBoard's logs of a stage, once an epoch."""

from typing import Any

from tfqkd.compat import keras


class EpochLogs(keras.callbacks.TensorBoard):
    """Keras' TensorBoard callback without what it does in every step for nothing.

    With `update_freq="epoch"` it writes no values of a batch, but makes a summary of each: that takes longer
    than a small step, and some kilobytes of memory that never come back.
    """

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Begins or ends a profile."""
        super().on_train_batch_end(batch, None)
