"""Checkpoints of a stage: enough to go on after the last finished epoch as if nothing had happened."""

import pathlib
from typing import Any

from tfqkd.compat import keras, tf

_KEPT = 2


class EpochCheckpoint(keras.callbacks.Callback):
    """Saves weights, optimizer and the number of finished epochs after every epoch.

    Args:
        directory: Where the checkpoints lie.
        model: The network whose weights are saved; the student of a distiller, never its teacher.
        optimizer: The stage's optimizer.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
    ) -> None:
        super().__init__()
        self._epochs = tf.Variable(0, trainable=False, dtype=tf.int64)
        optimizer.build(model.trainable_variables)
        checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer, epochs=self._epochs)
        self._manager = tf.train.CheckpointManager(checkpoint, str(directory), max_to_keep=_KEPT)

    def restore(self) -> int:
        """Restores the last checkpoint, if there is one, and returns the number of finished epochs."""
        if self._manager.restore_or_initialize():
            return int(self._epochs.numpy())
        return 0

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Saves."""
        self._epochs.assign(epoch + 1)
        self._manager.save()
