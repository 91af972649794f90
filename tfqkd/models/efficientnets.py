"""EfficientNet-Lite."""

import math
from types import ModuleType

from tfqkd.models.blocks import ChannelValues, Model, classify, default_keras, pixels
from tfqkd.models.dimensions import round_filters
from tfqkd.models.inverted import SMALLEST, Block, End, extract
from tfqkd.models.names import named

# Blocks, kernel, strides of the first, expansion, filters.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
# Multipliers of filters and blocks, by number.
_SCALES = ((1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8))


def efficientnet_lite(
    number: int,
    classes: int,
    image_shape: tuple[int, int, int] = (224, 224, 3),
    width: float = 1.0,
    *,
    mean: ChannelValues | None = None,
    std: ChannelValues | None = None,
    keras: ModuleType | None = None,
) -> Model:
    """Builds EfficientNet-Lite, with fewer strides for images under 64 pixels (see `inverted.extract`).

    EfficientNet without squeeze and excitation, with ReLU6, whose stem, head, first and last stage are as
    large in Lite4 as in Lite0. The published training drops features and whole blocks; nothing is dropped
    here.

    Args:
      number: 0 to 4; published for images of 224, 240, 260, 280 and 300 pixels.
      classes: Number of classes.
      image_shape: Height and width of at least 8, and channels.
      width: Further multiplier of the filters between stem and head.
      mean: Mean pixel per channel, in 0..255; None, with `std`, for no standardization.
      std: Standard deviation per channel, in 0..255.
      keras: The Keras module that makes it: tf_keras (None) or Keras 3.

    Returns:
      A float model from raw pixels 0..255 `[B, H, W, C]` to logits `[B, classes]`.

    Raises:
      ValueError: If an argument is out of its range.

    Source: EfficientNet (arXiv 1905.11946); its authors' EfficientNet-Lite in the repository
    tensorflow/tpu, models/official/efficientnet/lite.
    """
    if number not in range(len(_SCALES)):
        raise ValueError(
            f"`number` must be 0 to 4. Received: number={number}. Use a narrower network by `width`."
        )
    keras = default_keras(keras)
    inputs, x = pixels(keras, image_shape, SMALLEST, mean, std)
    wider, deeper = _SCALES[number]
    blocks = []
    for stage, (count, size, strides, expansion, filters) in enumerate(_STAGES):
        fixed = stage in (0, len(_STAGES) - 1)
        channels = round_filters(filters, wider * width)
        for block in range(count if fixed else math.ceil(count * deeper)):
            blocks.append(Block(channels, strides if block == 0 else 1, size, expansion))
    x = extract(keras, x, End(32), blocks, End(1280))
    return classify(keras, inputs, x, classes, named(f"efficientnet_lite{number}", width))
