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
_KERNELS: dict[type, tuple[Kernel, ...]] = {
    _layers.Dense: (Kernel("kernel", (1,)),),
    _layers.SeparableConv1D: (
        Kernel("depthwise_kernel", (1, 2)),
        Kernel("pointwise_kernel", (2,)),
    ),
    _layers.SeparableConv2D: (
        Kernel("depthwise_kernel", (2, 3)),
        Kernel("pointwise_kernel", (3,)),
    ),
    _layers.Conv1D: (Kernel("kernel", (2,)),),
    _layers.Conv2D: (Kernel("kernel", (3,)),),
    _layers.Conv3D: (Kernel("kernel", (4,)),),
    _layers.Conv1DTranspose: (Kernel("kernel", (1,)),),
    _layers.Conv2DTranspose: (Kernel("kernel", (2,)),),
    _layers.Conv3DTranspose: (Kernel("kernel", (3,)),),
    _layers.DepthwiseConv1D: (Kernel("depthwise_kernel", (1, 2)),),
    _layers.DepthwiseConv2D: (Kernel("depthwise_kernel", (2, 3)),),
}


def kernels_of(layer: keras.layers.Layer) -> tuple[Kernel, ...]:
    """Returns the layer's kernels that tfqkd quantizes; two for a separable convolution, else one or none."""
    for cls in type(layer).__mro__:
        if cls in _KERNELS:
            return _KERNELS[cls]
    return ()


def require_kernels(layer: keras.layers.Layer) -> tuple[Kernel, ...]:
    """Returns the layer's kernels.

    Raises:
        ValueError: If the layer has none that tfqkd quantizes.
    """
    kernels = kernels_of(layer)
    if not kernels:
        raise ValueError(
            "A quantized layer must have a kernel that tfqkd knows. "
            f"Received: {type(layer).__name__} '{layer.name}'. Quantize Dense, Conv1D/2D/3D, their "
            "transposes, DepthwiseConv1D/2D and SeparableConv1D/2D; leave others float, or give them a "
            "QuantizeConfig of their own."
        )
    return kernels


def require_kernel(layer: keras.layers.Layer, attribute: str) -> Kernel:
    """Returns the layer's kernel of a name.

    Raises:
        ValueError: If the layer has none of that name that tfqkd quantizes.
    """
    for kernel in require_kernels(layer):
        if kernel.attribute == attribute:
            return kernel
    raise ValueError(
        f"A kernel must be one of {[kernel.attribute for kernel in kernels_of(layer)]}. "
        f"Received: '{attribute}' of {type(layer).__name__} '{layer.name}'."
    )
