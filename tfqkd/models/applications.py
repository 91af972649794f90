"""Networks of `keras.applications` as students: their own preprocessing inside, weights from a local file."""

import os
import pathlib
from types import ModuleType
from typing import Any

from tfqkd.models.blocks import Model, Tensor, default_keras, pixels
from tfqkd.models.names import APPLICATIONS
from tfqkd.process.messages import first_line

_SMALLEST = 32
# Of ImageNet, in 0..255.
_MEAN, _STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def application(
    name: str,
    classes: int,
    image_shape: tuple[int, int, int],
    *,
    weights: str | os.PathLike[str] | None = None,
    keras: ModuleType | None = None,
) -> Model:
    """Builds a network of `keras.applications` with a new head; nothing is downloaded.

    Args:
      name: Its name there, such as "MobileNetV2"; `names.APPLICATIONS` has all.
      classes: Number of classes.
      image_shape: Height, width and channels, at least 32x32; 3 channels for trained weights.
      weights: A file of the weights without the top, as Keras publishes it (`..._no_top.h5`) or
        `save_weights` writes it; None for random ones.
      keras: The Keras module that makes it: tf_keras (None) or Keras 3.

    Returns:
      A float model from raw pixels 0..255 `[B, H, W, C]` to logits `[B, classes]`. Pixels are standardized as
      the weights expect it; the head is called `logits`, and the other layers as Keras calls them.

    Raises:
      ValueError: If there is no such network, the images are too small, or the file does not fit it.

    Example:
      >>> application("MobileNetV2", 10, (96, 96, 3), weights="mobilenet_v2_no_top.h5")
    """
    keras = default_keras(keras)
    if name not in APPLICATIONS:
        raise ValueError(
            f"`name` must be one of {', '.join(APPLICATIONS)}. Received: name={name!r}. Build others with "
            "keras.applications itself, and give the model."
        )
    inputs, raw = pixels(keras, image_shape, _SMALLEST, None, None)
    base = getattr(keras.applications, name)(
        include_top=False,
        weights=None,
        input_tensor=_preprocessed(keras, raw, APPLICATIONS[name]),
        pooling="avg",
    )
    if weights is not None:
        _load(base, name, pathlib.Path(weights))
    logits = keras.layers.Dense(classes, name="logits", dtype="float32")(base.output)
    return keras.Model(inputs, logits, name=name.lower())


def _preprocessed(keras: ModuleType, raw: Tensor, kind: str) -> Tensor:
    """Pixels as the network takes them: from -1 to 1, standardized by channel, or as they are."""
    if kind == "symmetric":
        return keras.layers.Rescaling(1 / 127.5, offset=-1.0, dtype="float32")(raw)
    if kind == "standardized":
        variance = [value**2 for value in _STD]
        return keras.layers.Normalization(mean=_MEAN, variance=variance, dtype="float32")(raw)
    return raw


def _load(base: Any, name: str, file: pathlib.Path) -> None:
    try:
        base.load_weights(str(file))
    except Exception as error:  # Keras and h5py raise what they like.
        why = first_line(error)[:200]
        raise ValueError(
            f"`weights` must be a file of {name} without its top. Received: {file}: {why}. Take the file "
            "that Keras publishes with `no_top` in its name, or base.save_weights(FILE) of the network with "
            "include_top=False."
        ) from error
