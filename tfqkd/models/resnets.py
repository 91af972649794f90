"""ResNets for small images and their wide variants, and those for ImageNet."""

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
from tfqkd.models.dimensions import IMAGENET_BLOCKS, RESNET_FILTERS, check_depth, scale_filters
from tfqkd.models.names import named


def resnet(
    depth: int,
    classes: int,
    image_shape: tuple[int, int, int] = (32, 32, 3),
    width: float = 1.0,
    *,
    mean: ChannelValues | None = None,
    std: ChannelValues | None = None,
    keras: ModuleType | None = None,
) -> Model:
    """Builds the CIFAR ResNet of He et al., section 4.2, or a wide one.

    A 3x3 stem of 16 filters, three stages of n blocks with round(16·width), round(32·width) and
    round(64·width) filters, the later two at half the size of the one before, the global average
    and the logits. A block is conv-BN-ReLU-conv-BN, added to its input and rectified; where its
    shape changes, the input passes a 1x1 convolution with BN (option B). WRN20xN keeps the stem of
    16 filters, as Zagoruyko and Komodakis do, and these blocks.

    Args:
      depth: 6n+2: 20, 32, 44, 56, ...
      classes: Number of classes.
      image_shape: Height and width of at least 4, and channels.
      width: Multiplier of the filters; ResNet20 is WRN20x1.
      mean: Mean pixel per channel, in 0..255; None, with `std`, for no standardization.
      std: Standard deviation per channel, in 0..255.
      keras: The Keras module that makes it: tf_keras (None) or Keras 3.

    Returns:
      A float model from raw pixels 0..255 `[B, H, W, C]` to logits `[B, classes]`.

    Raises:
      ValueError: If an argument is out of its range.

    Source: Deep Residual Learning for Image Recognition (arXiv 1512.03385); Wide Residual Networks
    (arXiv 1605.07146).
    """
    blocks = (check_depth(depth) - 2) // 6
    keras = default_keras(keras)
    inputs, x = pixels(keras, image_shape, 4, mean, std)
    x = convolve(keras, x, RESNET_FILTERS[0], "stem_conv")
    x = rectify(keras, normalize(keras, x, "stem_bn"), "stem_relu")
    for stage, filters in enumerate(RESNET_FILTERS, start=1):
        for block in range(1, blocks + 1):
            strides = 2 if stage > 1 and block == 1 else 1
            x = _block(
                keras, x, scale_filters(filters, width), strides, f"stage{stage}_block{block}"
            )
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    name = f"resnet{depth}" if width == 1 else f"wrn{depth}x{width:g}"
    return classify(keras, inputs, x, classes, name)


def imagenet_resnet(
    depth: int,
    classes: int,
    image_shape: tuple[int, int, int] = (224, 224, 3),
    width: float = 1.0,
    *,
    mean: ChannelValues | None = None,
    std: ChannelValues | None = None,
    keras: ModuleType | None = None,
) -> Model:
    """Builds the ImageNet ResNet of basic blocks of He et al., table 1: ResNet18 or ResNet34.

    A 7x7 stem of 64 filters and a 3x3 maximum, both of stride 2, then four stages of 64, 128, 256 and 512
    filters, the later three at half the size of the one before, of the blocks of `resnet`.

    Args:
      depth: 18 or 34.
      classes: Number of classes.
      image_shape: Height and width of at least 32, and channels.
      width: Multiplier of the filters.
      mean: Mean pixel per channel, in 0..255; None, with `std`, for no standardization.
      std: Standard deviation per channel, in 0..255.
      keras: The Keras module that makes it: tf_keras (None) or Keras 3.

    Returns:
      A float model from raw pixels 0..255 `[B, H, W, C]` to logits `[B, classes]`.

    Raises:
      ValueError: If an argument is out of its range.

    Source: Deep Residual Learning for Image Recognition (arXiv 1512.03385).
    """
    if depth not in IMAGENET_BLOCKS:
        known = " or ".join(map(str, IMAGENET_BLOCKS))
        raise ValueError(f"`depth` must be {known}. Received: depth={depth}. Choose one of these.")
    keras = default_keras(keras)
    inputs, x = pixels(keras, image_shape, 32, mean, std)
    x = convolve(keras, x, scale_filters(64, width), "stem_conv", size=7, strides=2)
    x = rectify(keras, normalize(keras, x, "stem_bn"), "stem_relu")
    x = keras.layers.MaxPooling2D(3, 2, padding="same", name="stem_pool")(x)
    for stage, blocks in enumerate(IMAGENET_BLOCKS[depth], start=1):
        filters = scale_filters(64 * 2 ** (stage - 1), width)
        for block in range(1, blocks + 1):
            strides = 2 if stage > 1 and block == 1 else 1
            x = _block(keras, x, filters, strides, f"stage{stage}_block{block}")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return classify(keras, inputs, x, classes, named(f"resnet{depth}", width))


def _block(keras: ModuleType, x: Tensor, filters: int, strides: int, name: str) -> Tensor:
    shortcut = x
    if strides != 1 or x.shape[-1] != filters:
        shortcut = convolve(keras, x, filters, f"{name}_projection", size=1, strides=strides)
        shortcut = normalize(keras, shortcut, f"{name}_projection_bn")
    x = convolve(keras, x, filters, f"{name}_conv1", strides=strides)
    x = rectify(keras, normalize(keras, x, f"{name}_bn1"), f"{name}_relu1")
    x = normalize(keras, convolve(keras, x, filters, f"{name}_conv2"), f"{name}_bn2")
    return rectify(keras, keras.layers.Add(name=f"{name}_add")([x, shortcut]), f"{name}_relu2")
