"""Epochs on JAX as one compiled call each: the data stay on the device, no step waits for the host."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from tfqkd.core.views import Words, draw_numbers, draw_order
from tfqkd.data.augmentation import Augmentation
from tfqkd.data.batches import FIXED_VIEWS_SEED
from tfqkd.data.epochs import Epochs
from tfqkd.fronts.keras3.rates import ScheduledSGD

WORDS = Words(
    word=jnp.uint32,
    add=jnp.add,
    multiply=jnp.multiply,
    xor=jnp.bitwise_xor,
    shift_right=jnp.right_shift,
    remainder=jnp.remainder,
    argsort=functools.partial(jnp.argsort, stable=True),
)


class ScannedEpoch:
    """What a network's `train_function` is on JAX, for the steps of a whole epoch.

    Order and views are drawn on the device by the same hash as on the host, from the number of the epoch.
    Seed, learning rates and weight decay are arguments, as are λ, T and the teacher of a `Distiller`, so that
    trainings that differ in them share one program.

    Args:
        network: Compiled.
        epochs: The batches; their arrays go to the device.
        optimizer: That of the network.
    """

    def __init__(self, network: keras.Model, epochs: Epochs, optimizer: ScheduledSGD) -> None:
        self._epochs, self._network, self._optimizer = epochs, network, optimizer
        split = epochs.split
        kept = epochs.teacher_logits
        said = jnp.stack([jnp.asarray(each) for each in kept]) if kept else None
        self._data = (jnp.asarray(split.images), jnp.asarray(split.labels, jnp.int32), said)
        self._settings = jax.device_put(optimizer.settings())
        self._run = jax.jit(self._steps, donate_argnums=0)
        self.epoch = 0

    def __call__(self, state: Any, iterator: Any) -> tuple[Any, Any]:
        """Makes the steps of `epoch`, and returns the logs of the last one and the state.

        Args:
            state: As Keras hands it to a step.
            iterator: Stands for the epoch's batches; none of its values is used.
        """
        for _ in iterator:
            pass
        drawn = np.uint32(self._epochs.seed), np.uint32(self.epoch)
        return self._run(state, self._data, drawn, self._settings)

    def _steps(self, state: Any, data: Any, drawn: Any, settings: Any) -> tuple[Any, Any]:
        (images, labels, said), (seed, epoch) = data, drawn
        epochs, examples = self._epochs, jnp.arange(len(self._epochs.split))
        shown = epochs.steps * epochs.batch_size
        order = draw_order(seed, epoch, examples, WORDS)[:shown]
        number, views_seed = epoch, seed
        if epochs.fixed_views:
            number, views_seed = epoch % epochs.fixed_views, FIXED_VIEWS_SEED
        views = draw_numbers(views_seed, number, examples, epochs.augmentation.views, WORDS)

        def step(state: Any, rows: Any) -> tuple[Any, Any]:
            x = images[rows]
            if epochs.augmentation != Augmentation.NONE:
                x = show(x, views[rows].astype(jnp.int32), epochs.augmentation.padding)
            y = jax.nn.one_hot(labels[rows], epochs.classes)
            x, y = shared(x), shared(y)
            if said is not None:
                x = (x, said[number][rows].astype(jnp.float32))
            logs, after = self._network.train_step(state, (x, y))
            # What a scan carries keeps its types.
            after = jax.tree.map(lambda new, old: new.astype(old.dtype), after, state)
            return after, logs

        rows = order.reshape(epochs.steps, epochs.batch_size)
        with self._optimizer.reading(settings):
            carried, logs = jax.lax.scan(step, state, rows)
        return jax.tree.map(lambda each: each[-1], logs), carried


def shared(batch: Any) -> Any:
    """Returns an array of a batch; with several devices, each gets its part."""
    distribution = keras.distribution.distribution()
    if distribution is None:
        return batch
    layout = distribution.get_data_layout(batch.shape)
    return keras.distribution.distribute_tensor(batch, layout)


def has_room(epochs: Epochs) -> bool:
    """Whether the images, and a teacher's logits for them, take at most half of the device's memory."""
    limit = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
    pixels = math.prod(epochs.split.images.shape)
    said = sum(2 * math.prod(each.shape) for each in epochs.teacher_logits)
    return limit is None or 2 * (pixels + said) <= limit


def show(images: Any, views: Any, padding: int) -> Any:
    """Returns images in their views; see `tfqkd.data.padded.show`."""
    offsets = 2 * padding + 1
    flips, cells = jnp.divmod(views[:, None], offsets**2)
    height, width = images.shape[1:3]
    lines, columns = jnp.arange(height), jnp.arange(width)
    y = cells // offsets + lines - padding
    x = cells % offsets + jnp.where(flips == 1, width - 1 - columns, columns) - padding
    rows = jnp.arange(len(images))[:, None, None]
    shown = images[rows, y.clip(0, height - 1)[:, :, None], x.clip(0, width - 1)[:, None, :]]
    inside = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None, :]
    return jnp.where(inside[..., None], shown, 0)
