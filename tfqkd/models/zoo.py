"""Builds a network by name."""

from types import ModuleType

from tfqkd.models.blocks import ChannelValues, Model
from tfqkd.models.cnns import cnn
from tfqkd.models.names import parse
from tfqkd.models.resnets import resnet
from tfqkd.models.vggs import vgg


def build(
    name: str,
    image_shape: tuple[int, int, int],
    classes: int,
    *,
    mean: ChannelValues | None = None,
    std: ChannelValues | None = None,
    keras: ModuleType | None = None,
) -> Model:
    """Builds a network by name.

    Args:
      name: `resnet<6n+2>`, `wrn<6n+2>x<width>`, `vgg7`, `vgg7x<width>` or `cnn<filters>`.
      image_shape: Height, width and channels.
      classes: Number of classes.
      mean: Mean pixel per channel, in 0..255; None, with `std`, for no standardization.
      std: Standard deviation per channel, in 0..255.
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
    depth, width = architecture.depth, architecture.width
    if architecture.family == "resnet":
        return resnet(depth, classes, image_shape, width, mean=mean, std=std, keras=keras)
    if architecture.family == "vgg":
        return vgg(classes, image_shape, width, mean=mean, std=std, keras=keras)
    return cnn(int(width), classes, image_shape, mean=mean, std=std, keras=keras)
