"""Networks of inverted residuals: what MobileNetV2, MobileNetV3 and EfficientNet-Lite have in common."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import ModuleType

from tfqkd.models.blocks import (
    Tensor,
    convolve,
    convolve_channels,
    hard_sigmoid,
    normalize,
    rectify,
    rectify6,
)
from tfqkd.models.dimensions import round_filters

SMALLEST = 8
"""Height and width of the smallest image: no stride then falls on a single pixel."""

_LARGE = 64
_EPSILON = 1e-3

Activation = Callable[[ModuleType, Tensor, str], Tensor]


@dataclass(frozen=True)
class End:
    """The convolution with norm that a network begins or ends with: the stem or the head.

    Attributes:
      filters: Its output channels.
      activate: The activation behind it.
    """

    filters: int
    activate: Activation = rectify6


@dataclass(frozen=True)
class Block:
    """An inverted residual.

    Attributes:
      filters: Its output channels.
      strides: Of the depthwise convolution, 1 or 2.
      size: Height and width of the depthwise kernel.
      expansion: Channels within over channels that come in; 1 for no expanding convolution.
      activate: The activation behind the expanding and the depthwise convolution.
      squeeze: Whether channels are weighed by squeeze and excitation.
    """

    filters: int
    strides: int
    size: int
    expansion: float
    activate: Activation = rectify6
    squeeze: bool = False


def extract(keras: ModuleType, x: Tensor, stem: End, blocks: Sequence[Block], head: End) -> Tensor:
    """Computes the features that a network classifies.

    Images under 64 pixels keep more of their size: the first two strides of 2 are 1 there, so that all
    strides together are 8 and not 32. For MobileNetV2 and CIFAR's 32 pixels that is usual. A block that then
    keeps size and channels is added to its input, as all such blocks are.

    Args:
      keras: tf_keras or Keras 3.
      x: Images `[B, H, W, C]`.
      stem: The 3x3 convolution of stride 2 that comes first.
      blocks: The inverted residuals.
      head: The 1x1 convolution that comes last.

    Returns:
      Its mean over the image, `[B, F]`.
    """
    strides = _lowered([2, *(block.strides for block in blocks)], min(x.shape[1], x.shape[2]))
    x = convolve(keras, x, stem.filters, "stem_conv", strides=strides[0])
    x = stem.activate(keras, normalize(keras, x, "stem_bn", _EPSILON), "stem_act")
    for number, block in enumerate(blocks, start=1):
        x = _residual(keras, x, replace(block, strides=strides[number]), f"block{number}")
    x = convolve(keras, x, head.filters, "head_conv", size=1)
    x = head.activate(keras, normalize(keras, x, "head_bn", _EPSILON), "head_act")
    return keras.layers.GlobalAveragePooling2D(name="pool")(x)


def _lowered(strides: list[int], side: int) -> list[int]:
    if side >= _LARGE:
        return strides
    first, second = [index for index, stride in enumerate(strides) if stride == 2][:2]
    return [1 if index in (first, second) else stride for index, stride in enumerate(strides)]


def _residual(keras: ModuleType, x: Tensor, block: Block, name: str) -> Tensor:
    entry = x
    channels = x.shape[-1]
    inner = round_filters(channels * block.expansion)
    if block.expansion != 1:
        x = convolve(keras, x, inner, f"{name}_expand", size=1)
        x = normalize(keras, x, f"{name}_expand_bn", _EPSILON)
        x = block.activate(keras, x, f"{name}_expand_act")
    x = convolve_channels(keras, x, f"{name}_depthwise", size=block.size, strides=block.strides)
    x = normalize(keras, x, f"{name}_depthwise_bn", _EPSILON)
    x = block.activate(keras, x, f"{name}_depthwise_act")
    if block.squeeze:
        x = _weigh(keras, x, inner, f"{name}_squeeze")
    x = convolve(keras, x, block.filters, f"{name}_project", size=1)
    x = normalize(keras, x, f"{name}_project_bn", _EPSILON)
    if block.strides == 1 and channels == block.filters:
        x = keras.layers.Add(name=f"{name}_add")([entry, x])
    return x


def _weigh(keras: ModuleType, x: Tensor, channels: int, name: str) -> Tensor:
    """Squeeze and excitation with a hard sigmoid: weighs channels by what they are on average."""
    weights = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_pool")(x)
    weights = convolve(
        keras, weights, round_filters(channels / 4), f"{name}_reduce", size=1, bias=True
    )
    weights = rectify(keras, weights, f"{name}_relu")
    weights = convolve(keras, weights, channels, f"{name}_expand", size=1, bias=True)
    weights = hard_sigmoid(keras, weights, f"{name}_gate")
    return keras.layers.Multiply(name=name)([x, weights])
