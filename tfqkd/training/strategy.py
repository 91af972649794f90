"""Where a run computes: one device, or several through `tf.distribute`."""

from tfqkd.compat import tf


def make_strategy(name: str, batch_size: int) -> tf.distribute.Strategy:
    """Returns the strategy of a run.

    Args:
        name: "auto" (all GPUs if there are several, else one device), "one_device", or "mirrored" (all GPUs,
            or all logical CPUs where there is no GPU).
        batch_size: The global batch, which the replicas share evenly.

    Raises:
        ValueError: If the batch cannot be shared evenly.
    """
    gpus = tf.config.list_logical_devices("GPU")
    devices = gpus or tf.config.list_logical_devices("CPU")
    if name == "one_device" or (name == "auto" and len(gpus) < 2):
        return tf.distribute.OneDeviceStrategy(devices[0].name)
    if batch_size % len(devices):
        raise ValueError(
            f"`batch_size` must be a multiple of the number of devices. Received: batch_size={batch_size} on "
            f"{len(devices)} devices. Use {-(-batch_size // len(devices)) * len(devices)}, or one_device."
        )
    return tf.distribute.MirroredStrategy([device.name for device in devices])
