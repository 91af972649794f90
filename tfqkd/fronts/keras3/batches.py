"""What Keras 3 iterates over: batches of an epoch, one that stands for all of them, images in order."""

import math
from typing import Any

import keras
import numpy as np

from tfqkd.data.epochs import Epochs
from tfqkd.data.images import Split
from tfqkd.fronts.keras3.rates import ScheduledSGD
from tfqkd.fronts.trainer import Watcher


class Batches(keras.utils.PyDataset):
    """The batches of one epoch after the other, as Keras asks for them.

    Args:
        epochs: All of them.
        first: The epoch to begin with.
        weights: What an example of each class weighs, `[classes]`; None where all weigh the same.
        made: Steps that are left out of each.
    """

    def __init__(
        self, epochs: Epochs, first: int, weights: np.ndarray | None = None, made: int = 0
    ) -> None:
        super().__init__()
        self._weights = weights
        self.steps_in_call = 1
        self._epochs, self._made = epochs, made
        self.turning = _Turning(self)
        self.turn(first)

    def turn(self, epoch: int) -> None:
        """Shows another epoch from now on."""
        self._epoch, self._order = epoch, self._epochs.order(epoch)

    def __len__(self) -> int:
        return self._epochs.steps - self._made

    def __getitem__(self, step: int) -> tuple[Any, ...]:
        images, labels = self._epochs.batch(self._epoch, self._order[self._made + step])
        # Of a mixture the mean of its classes' weights.
        return (
            (images, labels) if self._weights is None else (images, labels, labels @ self._weights)
        )


class ShownInOrder(keras.utils.PyDataset):
    """All images in stored order, with one-hot labels.

    The last batch may be a short one. With several devices on JAX it is the first: Keras shares all batches
    among them as it does that one, and one that they cannot share goes to each of them.

    Args:
        split: The images.
        batch_size: Of all batches but the short one.
        classes: Number of classes.
    """

    def __init__(self, split: Split, batch_size: int, classes: int) -> None:
        super().__init__()
        self._split, self._batch_size = split, batch_size
        self._labels = np.eye(classes, dtype=np.float32)[split.labels]
        short_first = keras.distribution.distribution() is not None
        self._missing = -len(split) % batch_size if short_first else 0

    def __len__(self) -> int:
        return math.ceil(len(self._split) / self._batch_size)

    def __getitem__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        start = step * self._batch_size - self._missing
        rows = slice(max(start, 0), start + self._batch_size)
        return self._split.images[rows], self._labels[rows]


class ScannedBatches(keras.utils.PyDataset):
    """One batch that stands for a whole epoch, whose steps are made in one call on JAX.

    Args:
        network: Compiled; its `train_function` is replaced for good.
        epochs: All of them.
        optimizer: That of the network, inside what scales losses for it.
    """

    def __init__(self, network: keras.Model, epochs: Epochs, optimizer: ScheduledSGD) -> None:
        # JAX alone has it.
        from tfqkd.fronts.keras3.compiled_epochs import ScannedEpoch  # noqa: PLC0415

        super().__init__()
        self.steps_in_call = epochs.steps
        self._first = epochs.batch(0, epochs.order(0)[0])
        self._scanned = network.train_function = ScannedEpoch(network, epochs, optimizer)
        # A table of λ that grows has the function made again; this one sees the new shape by itself.
        network.make_train_function = lambda force=False: None
        self.turning = _Turning(self)

    def turn(self, epoch: int) -> None:
        """Makes the steps of another epoch from now on."""
        self._scanned.epoch = epoch

    def __len__(self) -> int:
        return 1

    def __getitem__(self, step: int) -> tuple[Any, np.ndarray]:
        return self._first


class _Turning(Watcher):
    def __init__(self, batches: "Batches | ScannedBatches") -> None:
        self._batches = batches

    def on_epoch_begin(self, epoch: int) -> None:
        self._batches.turn(epoch)
