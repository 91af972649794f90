"""Models that are awkward to export, each with its middle layers ternary."""

from collections.abc import Callable

import numpy as np

import tfqkd
from tfqkd.compat import keras

SHAPE = (12, 12, 3)
layers = keras.layers


def _norm(x):
    # Momentum 0: one training pass leaves this batch's own statistics behind.
    return layers.BatchNormalization(momentum=0.0)(x)


def _model(middle: Callable, classes: int = 4) -> keras.Model:
    """Builds a float stem, what is in question, and a float head."""
    inputs = keras.Input(SHAPE)
    x = layers.Rescaling(1 / 128, -1.0)(inputs)
    x = layers.ReLU()(_norm(layers.Conv2D(8, 3, padding="same", name="stem")(x)))
    x = layers.GlobalAveragePooling2D()(middle(x))
    return keras.Model(inputs, layers.Dense(classes, name="head")(x))


def _raw_pixels() -> keras.Model:
    inputs = keras.Input(SHAPE)
    x = layers.Conv2D(8, 3, name="stem")(inputs)
    x = layers.ReLU()(_norm(layers.Conv2D(8, 3, use_bias=False, name="middle")(x)))
    return keras.Model(inputs, layers.Dense(4, name="head")(layers.GlobalAvgPool2D()(x)))


def _dense_only() -> keras.Model:
    inputs = keras.Input(SHAPE)
    x = layers.Flatten()(layers.Rescaling(1 / 255)(inputs))
    x = layers.ReLU()(layers.Dense(16, name="stem")(x))
    x = layers.ReLU()(layers.Dense(24, name="middle")(x))
    return keras.Model(inputs, layers.Dense(4, name="head")(x))


def _mobilenet() -> keras.Model:
    return keras.applications.MobileNetV2(
        (32, 32, 3), alpha=0.35, weights=None, classes=4, classifier_activation=None
    )


def _norm_before(x, padding: str = "same", between: Callable = lambda x: x):
    x = between(_norm(x))
    return layers.Conv2D(8, 3, padding=padding, name="middle")(x)


MODELS: dict[str, Callable[[], keras.Model]] = {
    "raw pixels": _raw_pixels,
    "dense only": _dense_only,
    "convolution with bias": lambda: _model(layers.Conv2D(8, 3, name="middle")),
    "transposed": lambda: _model(
        lambda x: _norm(layers.Conv2DTranspose(6, 3, strides=2, padding="same", name="middle")(x))
    ),
    "depthwise, two channels each": lambda: _model(
        lambda x: _norm(layers.DepthwiseConv2D(3, depth_multiplier=2, name="middle")(x))
    ),
    "dilated": lambda: _model(
        lambda x: _norm(layers.Conv2D(8, 3, dilation_rate=2, padding="same", name="middle")(x))
    ),
    "dilated depthwise": lambda: _model(
        lambda x: _norm(layers.DepthwiseConv2D(3, dilation_rate=2, name="middle")(x))
    ),
    "grouped": lambda: _model(lambda x: _norm(layers.Conv2D(8, 3, groups=4, name="middle")(x))),
    "separable": lambda: _model(lambda x: _norm(layers.SeparableConv2D(8, 3, name="middle")(x))),
    "norm before, same padding": lambda: _model(_norm_before),
    "norm before, no padding": lambda: _model(lambda x: _norm_before(x, "valid")),
    "norm and ReLU before": lambda: _model(lambda x: _norm_before(x, between=layers.ReLU())),
    "MobileNetV2": _mobilenet,
}


def build(name: str, scheme: object | None = None) -> keras.Model:
    """Returns a quantized model with the statistics of real activations, and negative factors."""
    keras.utils.set_random_seed(3)
    model = MODELS[name]()
    generator = np.random.default_rng(3)
    model(pixels(model, 16), training=True)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            signs = (-1) ** np.arange(layer.gamma.shape[0])
            layer.gamma.assign(signs * generator.uniform(0.5, 1.5, layer.gamma.shape))
            layer.beta.assign(generator.normal(0.0, 0.5, layer.beta.shape))
    return tfqkd.quantize_model(model, scheme or tfqkd.TernaryScheme())


def pixels(model: keras.Model, count: int) -> np.ndarray:
    """Returns random images, float32 in 0..255."""
    shape = (count, *model.input_shape[1:])
    return np.random.default_rng(4).uniform(0, 255, shape).astype(np.float32)
