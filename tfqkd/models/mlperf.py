"""The image classification network of MLPerf Tiny."""

from types import ModuleType

from tfqkd.models.blocks import (
    ChannelValues,
    Model,
    Tensor,
    classify,
    convolve,
    default_keras,
    normalize,
    pixels,
    rectify,
)
from tfqkd.models.dimensions import RESNET_FILTERS, scale_filters
from tfqkd.models.names import named

_EPSILON = 1e-3


def resnet8_mlperf(
    classes: int,
    image_shape: tuple[int, int, int] = (32, 32, 3),
    width: float = 1.0,
    *,
    mean: ChannelValues | None = None,
    std: ChannelValues | None = None,
    keras: ModuleType | None = None,
) -> Model:
    """Builds the ResNet8 of MLPerf Tiny's benchmark of image classification.

    What it computes, `resnet(8, ...)` computes too. It has a bias before every norm, and its projections
    have a bias and no norm; folded for a device, both are the same graph.

    Args:
      classes: Number of classes.
      image_shape: Height and width of at least 4, and channels.
      width: Multiplier of the 16, 32 and 64 filters; 1.625 makes the 26 filters of its larger variant.
      mean: Mean pixel per channel, in 0..255; None, with `std`, for no standardization.
      std: Standard deviation per channel, in 0..255.
      keras: The Keras module that makes it: tf_keras (None) or Keras 3.

    Returns:
      A float model from raw pixels 0..255 `[B, H, W, C]` to logits `[B, classes]`.

    Raises:
      ValueError: If an argument is out of its range.

    Source: MLPerf Tiny Benchmark (arXiv 2106.07597); `resnet_v1_eembc` in the repository mlcommons/tiny,
    benchmark/training/image_classification/keras_model.py.
    """
    keras = default_keras(keras)
    inputs, x = pixels(keras, image_shape, 4, mean, std)
    widths = [scale_filters(filters, width) for filters in RESNET_FILTERS]
    x = convolve(keras, x, widths[0], "stem_conv", bias=True)
    x = rectify(keras, normalize(keras, x, "stem_bn", _EPSILON), "stem_relu")
    for number, filters in enumerate(widths, start=1):
        x = _stack(keras, x, filters, 1 if number == 1 else 2, f"stack{number}")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return classify(keras, inputs, x, classes, named("resnet8_mlperf", width))


def _stack(keras: ModuleType, x: Tensor, filters: int, strides: int, name: str) -> Tensor:
    y = convolve(keras, x, filters, f"{name}_conv1", strides=strides, bias=True)
    y = rectify(keras, normalize(keras, y, f"{name}_bn1", _EPSILON), f"{name}_relu1")
    y = convolve(keras, y, filters, f"{name}_conv2", bias=True)
    y = normalize(keras, y, f"{name}_bn2", _EPSILON)
    if strides == 2:
        x = convolve(keras, x, filters, f"{name}_projection", size=1, strides=strides, bias=True)
    return rectify(keras, keras.layers.Add(name=f"{name}_add")([x, y]), f"{name}_relu2")
