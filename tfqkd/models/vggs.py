"""VGG-7, the plain network that ternary weights are measured on."""

from types import ModuleType

from tfqkd.models.blocks import (
    ChannelValues,
    Model,
    classify,
    convolve,
    default_keras,
    normalize,
    pixels,
    rectify,
)
from tfqkd.models.dimensions import VGG_FILTERS, scale_filters

_UNITS = 1024


def vgg(
    classes: int,
    image_shape: tuple[int, int, int] = (32, 32, 3),
    width: float = 1.0,
    *,
    mean: ChannelValues | None = None,
    std: ChannelValues | None = None,
    keras: ModuleType | None = None,
) -> Model:
    """Builds VGG-7: 2x128C3-MP2-2x256C3-MP2-2x512C3-MP2-1024FC, then the logits.

    BN and ReLU follow every convolution and the 1024 units.

    Args:
      classes: Number of classes.
      image_shape: Height and width of at least 8, and channels.
      width: Multiplier of the filters and of the 1024 units.
      mean: Mean pixel per channel, in 0..255; None, with `std`, for no standardization.
      std: Standard deviation per channel, in 0..255.
      keras: The Keras module that makes it: tf_keras (None) or Keras 3.

    Returns:
      A float model from raw pixels 0..255 `[B, H, W, C]` to logits `[B, classes]`.

    Raises:
      ValueError: If an argument is out of its range.

    Source: Ternary Weight Networks (arXiv 1605.04711), section 3.
    """
    keras = default_keras(keras)
    inputs, x = pixels(keras, image_shape, 8, mean, std)
    for stage, filters in enumerate(VGG_FILTERS, start=1):
        for layer in (1, 2):
            x = convolve(keras, x, scale_filters(filters, width), f"stage{stage}_conv{layer}")
            x = rectify(
                keras, normalize(keras, x, f"stage{stage}_bn{layer}"), f"stage{stage}_relu{layer}"
            )
        x = keras.layers.MaxPooling2D(name=f"stage{stage}_pool")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(
        scale_filters(_UNITS, width), use_bias=False, kernel_initializer="he_normal", name="fc"
    )(x)
    x = rectify(keras, normalize(keras, x, "fc_bn"), "fc_relu")
    return classify(keras, inputs, x, classes, "vgg7" if width == 1 else f"vgg7x{width:g}")
