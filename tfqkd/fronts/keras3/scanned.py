"""Epochs on JAX as one compiled call each: the data lie on the device, no step waits for the host."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import keras

from tfqkd.core.views import Words, draw_numbers, draw_order
from tfqkd.data.augmentation import Augmentation
from tfqkd.data.batches import FIXED_VIEWS_SEED
from tfqkd.data.epochs import Epochs

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

    Args:
        network: Compiled.
        epochs: The batches; their arrays go to the device.
    """

    def __init__(self, network: keras.Model, epochs: Epochs) -> None:
        self._epochs, self._network = epochs, network
        split = epochs.split
        kept = epochs.teacher_logits
        said = jnp.stack([jnp.asarray(each) for each in kept]) if kept else None
        self._data = (jnp.asarray(split.images), jnp.asarray(split.labels, jnp.int32), said)
        self._run = jax.jit(self._steps, donate_argnums=0)
        self.epoch = 0

    def __call__(self, state: Any, iterator: Any) -> tuple[Any, Any]:
        """Makes the steps of `epoch`, and returns the logs of the last one and the state.

        Args:
            state: As Keras hands it to a step.
            iterator: What stands for the epoch's batches, of which no values are taken.
        """
        for _ in iterator:
            pass
        return self._run(state, self._data, jnp.uint32(self.epoch))

    def _steps(self, state: Any, data: Any, epoch: Any) -> tuple[Any, Any]:
        images, labels, said = data
        epochs, examples = self._epochs, jnp.arange(len(self._epochs.split))
        shown = epochs.steps * epochs.batch_size
        order = draw_order(epochs.seed, epoch, examples, WORDS)[:shown]
        number = epoch % epochs.fixed_views if epochs.fixed_views else epoch
        seed = FIXED_VIEWS_SEED if epochs.fixed_views else epochs.seed
        views = draw_numbers(seed, number, examples, epochs.augmentation.views, WORDS)

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

        carried, logs = jax.lax.scan(step, state, order.reshape(epochs.steps, epochs.batch_size))
        return jax.tree.map(lambda each: each[-1], logs), carried


def shared(batch: Any) -> Any:
    """Returns an array of a batch, of which each device gets its part where there are several."""
    distribution = keras.distribution.distribution()
    if distribution is None:
        return batch
    layout = distribution.get_data_layout(batch.shape)
    return keras.distribution.distribute_tensor(batch, layout)


def show(images: Any, views: Any, padding: int) -> Any:
    """Returns images in their views; see `tfqkd.data.epochs.show`."""
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
