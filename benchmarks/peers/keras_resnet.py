"""ResNet20 as tfqkd builds it, for any Keras: the layers and the convolution are arguments."""

from collections.abc import Callable
from typing import Any


def resnet(keras: Any, convolve: Callable[..., Any], width: float = 1, classes: int = 10) -> Any:
    """Builds the model; the stem is a float convolution, as is the last dense layer.

    Args:
        keras: The module: tf_keras or keras.
        convolve: Makes the other convolutions: called with (filters, size, strides).
        width: Multiplier of the filters of the three stages.
        classes: Number of classes.
    """
    layers = keras.layers

    def normalized(x: Any, convolution: Any) -> Any:
        return layers.BatchNormalization()(convolution(x))

    inputs = keras.Input((32, 32, 3))
    stem = layers.Conv2D(16, 3, padding="same", use_bias=False)
    x = layers.ReLU()(normalized(inputs, stem))
    for stage, filters in enumerate((16, 32, 64)):
        for block in range(3):
            strides = 2 if stage and not block else 1
            count = round(filters * width)
            shortcut = x
            if strides != 1 or x.shape[-1] != count:
                shortcut = normalized(x, convolve(count, 1, strides))
            x = layers.ReLU()(normalized(x, convolve(count, 3, strides)))
            x = layers.Add()([normalized(x, convolve(count, 3, 1)), shortcut])
            x = layers.ReLU()(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(classes)(x))
