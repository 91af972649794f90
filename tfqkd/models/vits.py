"""A small vision transformer of plain layers: each may be quantized, tapped and exported as any other."""

import math
from types import ModuleType

from tfqkd.models.blocks import (
    ChannelValues,
    Model,
    Tensor,
    classify,
    convolve_channels,
    default_keras,
    pixels,
    rectify,
)

HEADS = 2


def vit(
    depth: int,
    width: int,
    classes: int,
    image_shape: tuple[int, int, int] = (32, 32, 3),
    *,
    mean: ChannelValues | None = None,
    std: ChannelValues | None = None,
    keras: ModuleType | None = None,
) -> Model:
    """Builds a pre-norm transformer on patches (arXiv 2010.11929), without a layer of attention of its own.

    Patches of 4x4 pixels, of 2x2 in images below 16, become tokens; a depthwise convolution tells where they
    are (arXiv 2102.10882). Each of two heads has layers `query`, `key` and `value`, a `Dot`, the `scores`
    (before the softmax) and the `mix`; the units are twice the width, with ReLU; the mean of the tokens is
    classified. Taps: `embedded`, `blockN_end`, `blockN_headM_scores`.

    Args:
      depth: Blocks.
      width: Features of a token, even.
      classes: Number of classes.
      image_shape: Height and width, multiples of the patch, and channels.
      mean: Mean pixel per channel, in 0..255; None, with `std`, for no standardization.
      std: Standard deviation per channel, in 0..255.
      keras: The Keras module that makes it: tf_keras (None) or Keras 3.

    Returns:
      A float model from raw pixels 0..255 `[B, H, W, C]` to logits `[B, classes]`.

    Raises:
      ValueError: If an argument is out of its range.
    """
    patch = 4 if min(image_shape[:2]) >= 16 else 2
    if depth < 1 or width < HEADS or width % HEADS or any(s % patch for s in image_shape[:2]):
        raise ValueError(
            f"A vit has at least one block, a width divisible by {HEADS}, and images of whole patches of "
            f"{patch}x{patch}. Received: depth={depth}, width={width}, image_shape={tuple(image_shape)}. "
            "For example vit2x32 on 8x8."
        )
    keras = default_keras(keras)
    layers = keras.layers
    inputs, x = pixels(keras, image_shape, patch, mean, std)
    x = layers.Conv2D(width, patch, patch, name="patches")(x)
    x = layers.Add(name="placed")([x, convolve_channels(keras, x, "position", size=3, strides=1)])
    tokens = (image_shape[0] // patch) * (image_shape[1] // patch)
    x = layers.Reshape((tokens, width), name="embedded")(x)
    for block in range(1, depth + 1):
        x = _attend(keras, x, width, f"block{block}")
        x = _transform(keras, x, width, f"block{block}")
    x = layers.LayerNormalization(epsilon=1e-6, name="norm")(x)
    x = layers.GlobalAveragePooling1D(name="pool")(x)
    return classify(keras, inputs, x, classes, f"vit{depth}x{width}")


def _attend(keras: ModuleType, x: Tensor, width: int, name: str) -> Tensor:
    layers = keras.layers
    normal = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm1")(x)
    mixed = []
    for head in (f"{name}_head{number}" for number in range(1, HEADS + 1)):
        query, key, value = (
            layers.Dense(width // HEADS, name=f"{head}_{part}")(normal)
            for part in ("query", "key", "value")
        )
        scores = layers.Dot((2, 2), name=f"{head}_dot")([query, key])
        scores = layers.Rescaling(1 / math.sqrt(width // HEADS), name=f"{head}_scores")(scores)
        weights = layers.Softmax(name=f"{head}_softmax")(scores)
        mixed.append(layers.Dot((2, 1), name=f"{head}_mix")([weights, value]))
    mix = layers.Concatenate(name=f"{name}_mix")(mixed)
    mix = layers.Dense(width, name=f"{name}_project")(mix)
    return layers.Add(name=f"{name}_middle")([x, mix])


def _transform(keras: ModuleType, x: Tensor, width: int, name: str) -> Tensor:
    layers = keras.layers
    normal = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm2")(x)
    wide = layers.Dense(2 * width, kernel_initializer="he_normal", name=f"{name}_expand")(normal)
    narrow = layers.Dense(width, name=f"{name}_shrink")(rectify(keras, wide, f"{name}_relu"))
    return layers.Add(name=f"{name}_end")([x, narrow])
