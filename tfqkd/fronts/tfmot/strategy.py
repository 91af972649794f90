"""Where a run computes: one device, or several through `tf.distribute`."""

from contextlib import AbstractContextManager
from typing import Any

from tfqkd.compat import tf
from tfqkd.fronts.cluster import Cluster
from tfqkd.fronts.devices import not_compilable, require_even
from tfqkd.fronts.tfmot.workers import StrategyWorkers
from tfqkd.fronts.workers import Workers


class RunStrategy:
    """A strategy of TensorFlow as a `tfqkd.fronts.front.Strategy`.

    Args:
        strategy: Where the run computes.
    """

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        self._strategy = strategy
        self.workers: Workers = StrategyWorkers(strategy)
        self.replicas: int = strategy.num_replicas_in_sync

    def scope(self) -> AbstractContextManager[Any]:
        """Variables that are made inside belong to all devices."""
        return self._strategy.scope()


def make_strategy(name: str, batch_size: int, jit_compile: bool = False) -> tf.distribute.Strategy:
    """Returns the strategy of a run.

    Args:
        name: "auto" (all GPUs if there are several, one GPU, or TensorFlow's default on the CPU),
            "one_device", "mirrored" (all GPUs, or all logical CPUs where there is no GPU), or
            "multi_worker" (the devices of all processes in TF_CONFIG; before anything else is computed).
        batch_size: The global batch, which the replicas share evenly.
        jit_compile: Whether XLA compiles the training step.

    Raises:
        ValueError: If the batch cannot be shared evenly, TF_CONFIG names no cluster, or XLA cannot compile
            for these devices.
        RuntimeError: If TensorFlow has computed something before the workers could be joined.
    """
    if name == "multi_worker":
        Cluster.read()
        if jit_compile and not tf.config.list_physical_devices("GPU"):
            raise not_compilable(name)
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        require_even(batch_size, strategy.num_replicas_in_sync)
        return strategy
    gpus = tf.config.list_logical_devices("GPU")
    if name == "auto" and not gpus:
        # There is no other device to bring batches to: what does that costs small runs a fifth of their time.
        return tf.distribute.get_strategy()
    devices = gpus or tf.config.list_logical_devices("CPU")
    if name == "one_device" or (name == "auto" and len(gpus) == 1):
        return tf.distribute.OneDeviceStrategy(devices[0].name)
    if jit_compile and not gpus and len(devices) > 1:
        raise not_compilable(name)
    require_even(batch_size, len(devices))
    return tf.distribute.MirroredStrategy([device.name for device in devices])
