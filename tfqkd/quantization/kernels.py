"""Which weights of which layers can be quantized, and which of their axes are output channels."""

import dataclasses

from tfqkd.compat import keras


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A weight that a layer multiplies its input with.

    Attributes:
        attribute: The layer's attribute that holds it.
        channel_axes: The axes that number the layer's output channels.
    """

    attribute: str
    channel_axes: tuple[int, ...]


_layers = keras.layers
_KERNELS: dict[type, Kernel] = {
    _layers.Dense: Kernel("kernel", (1,)),
    _layers.Conv1D: Kernel("kernel", (2,)),
    _layers.Conv2D: Kernel("kernel", (3,)),
    _layers.Conv3D: Kernel("kernel", (4,)),
    _layers.Conv1DTranspose: Kernel("kernel", (1,)),
    _layers.Conv2DTranspose: Kernel("kernel", (2,)),
    _layers.Conv3DTranspose: Kernel("kernel", (3,)),
    _layers.DepthwiseConv2D: Kernel("depthwise_kernel", (2, 3)),
}


def kernel_of(layer: keras.layers.Layer) -> Kernel | None:
    """Returns the layer's kernel, or None if the layer has none that tfqkd quantizes."""
    for cls in type(layer).__mro__:
        if cls in _KERNELS:
            return _KERNELS[cls]
    return None


def require_kernel(layer: keras.layers.Layer) -> Kernel:
    """Returns the layer's kernel.

    Raises:
        ValueError: If the layer has none that tfqkd quantizes.
    """
    kernel = kernel_of(layer)
    if kernel is None:
        raise ValueError(
            "A quantized layer must have a kernel that tfqkd knows. "
            f"Received: {type(layer).__name__} '{layer.name}'. Quantize Dense, Conv1D/2D/3D, their "
            "transposes and DepthwiseConv2D; leave others float, or give them a QuantizeConfig of their own."
        )
    return kernel
