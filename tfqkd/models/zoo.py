"""Builds a network by name."""

import os
from collections.abc import Callable
from functools import partial
from types import ModuleType

from tfqkd.models.applications import application
from tfqkd.models.blocks import ChannelValues, Model
from tfqkd.models.cnns import cnn
from tfqkd.models.efficientnets import efficientnet_lite
from tfqkd.models.mlperf import resnet8_mlperf
from tfqkd.models.mobilenets import mobilenetv2, mobilenetv3
from tfqkd.models.names import Family, parse
from tfqkd.models.resnets import imagenet_resnet, resnet
from tfqkd.models.vggs import vgg
from tfqkd.models.vits import vit


def build(
    name: str,
    image_shape: tuple[int, int, int],
    classes: int,
    *,
    mean: ChannelValues | None = None,
    std: ChannelValues | None = None,
    weights: str | os.PathLike[str] | None = None,
    keras: ModuleType | None = None,
) -> Model:
    """Builds a network by name.

    Args:
      name: Such as `resnet20`, `wrn20x1.7`, `vgg7x0.5`, `cnn32`, `mobilenetv2_0.5` or
        `applications:MobileNetV2`; `names.KNOWN` has all.
      image_shape: Height, width and channels.
      classes: Number of classes.
      mean: Mean pixel per channel, in 0..255; None, with `std`, for no standardization.
      std: Standard deviation per channel, in 0..255. Networks of keras.applications take their own.
      weights: Of a network of keras.applications, the file of its trained weights; see `application`.
      keras: The Keras module that makes it: tf_keras (None) or Keras 3.

    Returns:
      A float model from raw pixels 0..255 `[B, H, W, C]` to logits `[B, classes]`.

    Raises:
      ValueError: If the name is unknown, or the network does not fit the images.

    Example:
      >>> build("resnet20", (32, 32, 3), 10).count_params()
      274042
    """
    architecture = parse(name)
    if architecture.family == "applications":
        # It standardizes the pixels itself, as its weights expect it.
        return application(
            architecture.application, classes, image_shape, weights=weights, keras=keras
        )
    if weights is not None:
        raise ValueError(
            f"`weights` belongs to networks of keras.applications. Received: weights={str(weights)!r} for "
            f"{name!r}. Load the saved model instead."
        )
    depth, width = architecture.depth, architecture.width
    builders: dict[Family, Callable[..., Model]] = {
        "resnet": partial(resnet, depth, width=width),
        "vgg": partial(vgg, width=width),
        "cnn": partial(cnn, int(width)),
        "imagenet_resnet": partial(imagenet_resnet, depth, width=width),
        "vit": partial(vit, depth, int(width)),
        "resnet8_mlperf": partial(resnet8_mlperf, width=width),
        "mobilenetv2": partial(mobilenetv2, width=width),
        "mobilenetv3_small": partial(mobilenetv3, "small", width=width),
        "mobilenetv3_large": partial(mobilenetv3, "large", width=width),
        "efficientnet_lite": partial(efficientnet_lite, depth, width=width),
    }
    builder = builders[architecture.family]
    return builder(classes=classes, image_shape=image_shape, mean=mean, std=std, keras=keras)
