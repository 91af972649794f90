"""Where a run of Keras 3 computes: one device, or several that hold the same variables."""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from tfqkd.fronts.devices import not_compilable, require_even
from tfqkd.fronts.workers import Workers

DISTRIBUTES = ("tensorflow", "jax")
"""The backends on which Keras trains on several devices."""


class OneDevice:
    """One device.

    Attributes:
        workers: This process alone.
        replicas: Of how many parts of a batch the result of a training depends.
    """

    workers = Workers()
    replicas = 1

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """Variables that are made inside belong to all devices, and all of them train them."""
        return contextlib.nullcontext()


class Mirrored(OneDevice):
    """Several devices of TensorFlow: each takes the statistics of batch norm over its part of a batch.

    Args:
        devices: Their names.
    """

    def __init__(self, devices: Sequence[str]) -> None:
        self._strategy = _mirrored(tuple(devices))
        self.replicas = len(devices)

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """See `OneDevice.scope`."""
        return self._strategy.scope()


@functools.cache
def _mirrored(devices: Sequence[str]) -> Any:
    """One for the process: the collectives of a second would meet those of the first."""
    import tensorflow as tf  # noqa: PLC0415 (the backend)

    return tf.distribute.MirroredStrategy(devices)


class Parallel(OneDevice):
    """Several devices of JAX: a step is that of the whole batch, whoever computes which part.

    Args:
        devices: Their names.
    """

    def __init__(self, devices: Sequence[str]) -> None:
        self._distribution = _EvenParallel(devices=list(devices), auto_shard_dataset=False)

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """See `OneDevice.scope`."""
        before = keras.distribution.distribution()
        keras.distribution.set_distribution(self._distribution)
        try:
            yield
        finally:
            keras.distribution.set_distribution(before)


class _EvenParallel(keras.distribution.DataParallel):
    """Shares a batch evenly, or not at all: that of a validation may be odd, and goes to every device."""

    def get_data_layout(self, data_shape: Sequence[int]) -> keras.distribution.TensorLayout:
        if data_shape and data_shape[0] % self.num_model_replicas == 0:
            return super().get_data_layout(data_shape)
        return keras.distribution.TensorLayout([None] * len(data_shape), self.device_mesh)


def make_strategy(name: str, batch_size: int, jit_compile: bool) -> OneDevice:
    """Returns where to compute.

    Args:
        name: "auto" (all accelerators where there are several), "one_device", or "mirrored" (all
            accelerators; without any, all processors that the backend knows).
        batch_size: What the devices share evenly.
        jit_compile: Whether XLA compiles the training step.

    Raises:
        ValueError: If the batch cannot be shared evenly, or XLA cannot compile for these devices.
    """
    backend = keras.backend.backend()
    if name == "one_device" or backend not in DISTRIBUTES:
        return OneDevice()
    devices = keras.distribution.list_devices()
    on_processors = devices[0].startswith("cpu")
    if len(devices) == 1 or (name == "auto" and on_processors):
        return OneDevice()
    require_even(batch_size, len(devices))
    if backend == "jax":
        return Parallel(devices)
    if jit_compile and on_processors:
        raise not_compilable(name)
    return Mirrored(devices)
