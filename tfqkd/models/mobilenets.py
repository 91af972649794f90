"""MobileNetV2 and MobileNetV3."""

from types import ModuleType
from typing import Literal

from tfqkd.models.blocks import (
    ChannelValues,
    Model,
    classify,
    default_keras,
    hard_swish,
    pixels,
    rectify,
)
from tfqkd.models.dimensions import round_filters
from tfqkd.models.inverted import SMALLEST, Block, End, extract
from tfqkd.models.names import named

# Expansion, filters, blocks, strides of the first: table 2 of the paper.
_V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)

# Kernel, expansion, filters, squeeze and excitation, activation, strides: tables 1 and 2 of the paper.
_V3 = {
    "small": (
        (3, 1, 16, True, rectify, 2),
        (3, 72 / 16, 24, False, rectify, 2),
        (3, 88 / 24, 24, False, rectify, 1),
        (5, 4, 40, True, hard_swish, 2),
        (5, 6, 40, True, hard_swish, 1),
        (5, 6, 40, True, hard_swish, 1),
        (5, 3, 48, True, hard_swish, 1),
        (5, 3, 48, True, hard_swish, 1),
        (5, 6, 96, True, hard_swish, 2),
        (5, 6, 96, True, hard_swish, 1),
        (5, 6, 96, True, hard_swish, 1),
    ),
    "large": (
        (3, 1, 16, False, rectify, 1),
        (3, 4, 24, False, rectify, 2),
        (3, 3, 24, False, rectify, 1),
        (5, 3, 40, True, rectify, 2),
        (5, 3, 40, True, rectify, 1),
        (5, 3, 40, True, rectify, 1),
        (3, 6, 80, False, hard_swish, 2),
        (3, 2.5, 80, False, hard_swish, 1),
        (3, 2.3, 80, False, hard_swish, 1),
        (3, 2.3, 80, False, hard_swish, 1),
        (3, 6, 112, True, hard_swish, 1),
        (3, 6, 112, True, hard_swish, 1),
        (5, 6, 160, True, hard_swish, 2),
        (5, 6, 160, True, hard_swish, 1),
        (5, 6, 160, True, hard_swish, 1),
    ),
}
_UNITS = {"small": 1024, "large": 1280}


def mobilenetv2(
    classes: int,
    image_shape: tuple[int, int, int] = (224, 224, 3),
    width: float = 1.0,
    *,
    mean: ChannelValues | None = None,
    std: ChannelValues | None = None,
    keras: ModuleType | None = None,
) -> Model:
    """Builds MobileNetV2, with fewer strides for images under 64 pixels (see `inverted.extract`).

    Args:
      classes: Number of classes.
      image_shape: Height and width of at least 8, and channels.
      width: Multiplier of the filters, rounded to multiples of 8; the last convolution's only above 1.
      mean: Mean pixel per channel, in 0..255; None, with `std`, for no standardization.
      std: Standard deviation per channel, in 0..255.
      keras: The Keras module that makes it: tf_keras (None) or Keras 3.

    Returns:
      A float model from raw pixels 0..255 `[B, H, W, C]` to logits `[B, classes]`.

    Raises:
      ValueError: If an argument is out of its range.

    Source: MobileNetV2: Inverted Residuals and Linear Bottlenecks (arXiv 1801.04381).
    """
    keras = default_keras(keras)
    inputs, x = pixels(keras, image_shape, SMALLEST, mean, std)
    blocks = [
        Block(round_filters(filters, width), strides if first else 1, 3, expansion)
        for expansion, filters, count, strides in _V2
        for first in [True] + [False] * (count - 1)
    ]
    head = End(round_filters(1280, max(1.0, width)))
    x = extract(keras, x, End(round_filters(32, width)), blocks, head)
    return classify(keras, inputs, x, classes, named("mobilenetv2", width))


def mobilenetv3(
    size: Literal["small", "large"],
    classes: int,
    image_shape: tuple[int, int, int] = (224, 224, 3),
    width: float = 1.0,
    *,
    mean: ChannelValues | None = None,
    std: ChannelValues | None = None,
    keras: ModuleType | None = None,
) -> Model:
    """Builds MobileNetV3, with fewer strides for images under 64 pixels (see `inverted.extract`).

    The published training drops features before the logits; nothing is dropped here.

    Args:
      size: "small" or "large".
      classes: Number of classes.
      image_shape: Height and width of at least 8, and channels.
      width: Multiplier of the filters, rounded to multiples of 8; the last hidden layer's only above 1,
        the stem's never.
      mean: Mean pixel per channel, in 0..255; None, with `std`, for no standardization.
      std: Standard deviation per channel, in 0..255.
      keras: The Keras module that makes it: tf_keras (None) or Keras 3.

    Returns:
      A float model from raw pixels 0..255 `[B, H, W, C]` to logits `[B, classes]`.

    Raises:
      ValueError: If an argument is out of its range.

    Source: Searching for MobileNetV3 (arXiv 1905.02244).
    """
    if size not in _V3:
        raise ValueError(
            f"`size` must be small or large. Received: size={size!r}. Choose one of these."
        )
    keras = default_keras(keras)
    inputs, x = pixels(keras, image_shape, SMALLEST, mean, std)
    blocks = [
        Block(round_filters(filters, width), strides, kernel, expansion, activate, squeeze)
        for kernel, expansion, filters, squeeze, activate, strides in _V3[size]
    ]
    head = End(6 * blocks[-1].filters, hard_swish)
    x = extract(keras, x, End(16, hard_swish), blocks, head)
    units = round_filters(_UNITS[size], max(1.0, width))
    x = keras.layers.Dense(units, kernel_initializer="he_normal", name="hidden")(x)
    x = hard_swish(keras, x, "hidden_act")
    return classify(keras, inputs, x, classes, named(f"mobilenetv3_{size}", width))
