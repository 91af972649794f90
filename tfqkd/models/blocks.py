"""The parts that all networks here are made of, each a function of the Keras module that makes its layers."""

import math
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

ChannelValues = Sequence[float] | np.ndarray
Tensor = Any
"""A symbolic tensor of the Keras module in use."""
Model = Any
"""A `keras.Model` of the Keras module in use."""


def default_keras(keras: ModuleType | None) -> ModuleType:
    """Returns the Keras module that is given, or tf_keras, which is imported only here."""
    if keras is not None:
        return keras
    from tfqkd.compat import keras as tf_keras  # noqa: PLC0415 (networks of Keras 3 do without it)

    return tf_keras


def pixels(
    keras: ModuleType,
    image_shape: tuple[int, int, int],
    smallest: int,
    mean: ChannelValues | None,
    std: ChannelValues | None,
) -> tuple[Tensor, Tensor]:
    """Starts a network that takes raw pixels 0..255 and standardizes them itself.

    Args:
      keras: tf_keras or Keras 3.
      image_shape: Height, width and channels.
      smallest: Height and width that the network needs at least.
      mean: Mean pixel per channel, in 0..255; None, with `std`, to take pixels as they are.
      std: Standard deviation per channel, in 0..255.

    Returns:
      The float32 input `[B, H, W, C]`, and (input − mean) / std.

    Raises:
      ValueError: If the image is too small, or `mean` and `std` do not fit it or each other.
    """
    if len(image_shape) != 3 or min(image_shape) < 1 or min(image_shape[:2]) < smallest:
        raise ValueError(
            f"`image_shape` must be (height, width, channels), at least {smallest}x{smallest} for "
            f"this network. Received: image_shape={tuple(image_shape)}. Use larger images or a "
            "network with fewer strides, such as cnn32."
        )
    inputs = keras.Input(image_shape, dtype="float32", name="pixels")
    if mean is None and std is None:
        return inputs, inputs
    channels = image_shape[-1]
    if (
        mean is None
        or std is None
        or not np.shape(mean) == np.shape(std) == (channels,)
        or min(std) <= 0
    ):
        raise ValueError(
            "`mean` and `std` must both be given, one value per channel, std above 0. Received: "
            f"mean={mean}, std={std} for {channels} channels. Give those of the training images, "
            "or neither."
        )
    # float32 whatever the policy: float16 would round the mean by up to 0.06 pixel values.
    standardization = keras.layers.Normalization(
        mean=[float(value) for value in mean],
        variance=[float(value) ** 2 for value in std],
        dtype="float32",
        name="standardization",
    )
    return inputs, standardization(inputs)


def convolve(
    keras: ModuleType,
    x: Tensor,
    filters: int,
    name: str,
    *,
    size: int = 3,
    strides: int = 1,
    bias: bool = False,
) -> Tensor:
    """Convolves with zero padding, without a bias where batch normalization follows."""
    return keras.layers.Conv2D(
        filters,
        size,
        strides,
        padding="same",
        use_bias=bias,
        kernel_initializer="he_normal",
        name=name,
    )(x)


def convolve_channels(
    keras: ModuleType, x: Tensor, name: str, *, size: int, strides: int
) -> Tensor:
    """Convolves each channel by itself (depthwise), with zero padding and without a bias.

    Kernels start with variance 2/size², the inputs of an output: `he_normal` would count all channels.
    """
    start = keras.initializers.RandomNormal(stddev=math.sqrt(2) / size)
    return keras.layers.DepthwiseConv2D(
        size, strides, padding="same", use_bias=False, depthwise_initializer=start, name=name
    )(x)


def normalize(keras: ModuleType, x: Tensor, name: str, epsilon: float = 1e-5) -> Tensor:
    """Normalizes over the batch, with momentum 0.9 and epsilon 1e-5 as in the CIFAR literature.

    Keras' momentum of 0.99 needs hundreds of steps, many epochs of a small data set, to settle.
    """
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=epsilon, name=name)(x)


def rectify(keras: ModuleType, x: Tensor, name: str) -> Tensor:
    """Takes max(x, 0)."""
    return keras.layers.ReLU(name=name)(x)


def rectify6(keras: ModuleType, x: Tensor, name: str) -> Tensor:
    """Takes min(max(x, 0), 6)."""
    return keras.layers.ReLU(6.0, name=name)(x)


def hard_sigmoid(keras: ModuleType, x: Tensor, name: str) -> Tensor:
    """Takes min(max(x + 3, 0), 6) / 6, in layers that both Kerases have."""
    x = keras.layers.Rescaling(1.0, offset=3.0, name=f"{name}_shift")(x)
    x = rectify6(keras, x, f"{name}_relu6")
    return keras.layers.Rescaling(1.0 / 6.0, name=f"{name}_scale")(x)


def hard_swish(keras: ModuleType, x: Tensor, name: str) -> Tensor:
    """Takes x · hard_sigmoid(x), as MobileNetV3 does (arXiv 1905.02244, section 5.2)."""
    return keras.layers.Multiply(name=name)([x, hard_sigmoid(keras, x, name)])


def classify(keras: ModuleType, inputs: Tensor, x: Tensor, classes: int, name: str) -> Model:
    """Ends a network in logits, which are float32 under every precision policy.

    Args:
      keras: The module that made them.
      inputs: What `pixels` gave.
      x: Features `[B, F]`.
      classes: Number of classes, at least 2.
      name: Name of the model.

    Returns:
      A model from pixels to logits `[B, classes]`, without softmax.

    Raises:
      ValueError: If there are fewer than two classes.
    """
    if classes < 2:
        raise ValueError(
            f"`classes` must be at least 2. Received: classes={classes}. Check the data set."
        )
    logits = keras.layers.Dense(classes, dtype="float32", name="logits")(x)
    return keras.Model(inputs, logits, name=name)
