"""A small convolutional network for small images, quick to train on one core."""

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


def cnn(
    width: int,
    classes: int,
    image_shape: tuple[int, int, int] = (8, 8, 1),
    *,
    mean: ChannelValues | None = None,
    std: ChannelValues | None = None,
    keras: ModuleType | None = None,
) -> Model:
    """Builds three 3x3 convolutions, each with BN and ReLU, the global average and the logits.

    Args:
      width: Filters of the first convolution; the second, of stride 2, and the third have twice
        as many.
      classes: Number of classes.
      image_shape: Height and width of at least 2, and channels.
      mean: Mean pixel per channel, in 0..255; None, with `std`, for no standardization.
      std: Standard deviation per channel, in 0..255.
      keras: The Keras module that makes it: tf_keras (None) or Keras 3.

    Returns:
      A float model from raw pixels 0..255 `[B, H, W, C]` to logits `[B, classes]`.

    Raises:
      ValueError: If an argument is out of its range.
    """
    if width < 1:
        raise ValueError(
            f"`width` must be a number of filters. Received: width={width}. Use 4 or more."
        )
    keras = default_keras(keras)
    inputs, x = pixels(keras, image_shape, 2, mean, std)
    for layer, (filters, strides) in enumerate(((width, 1), (2 * width, 2), (2 * width, 1)), 1):
        x = convolve(keras, x, filters, f"conv{layer}", strides=strides)
        x = rectify(keras, normalize(keras, x, f"bn{layer}"), f"relu{layer}")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return classify(keras, inputs, x, classes, f"cnn{width}")
