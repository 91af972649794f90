"""Small networks of every layer that integer files have, as if trained by `DeployScheme`."""

import functools

import numpy as np

import tfqkd
from tfqkd.compat import keras
from tfqkd.export.integer.reader import read_graph

layers = keras.layers
SHAPE = (13, 12, 3)
DEAD, FADED = 1, 2
"""Channels whose batch normalisation multiplies by 0, and by next to nothing."""


def norm(x, activation=None):
    x = layers.BatchNormalization(epsilon=1e-3)(x)
    return x if activation is None else activation(x)


def standardized(inputs):
    return layers.Normalization(mean=[120.0, 90.0, 140.0], variance=[3600.0, 2500.0, 4900.0])(
        inputs
    )


def plain():
    """Biases, fused activations, pooling of all kinds, padding by a layer, dense layers."""
    inputs = keras.Input(SHAPE)
    x = layers.Rescaling(1 / 127.5, -1.0)(inputs)
    x = layers.Conv2D(8, 3, activation="relu", name="stem")(x)
    x = layers.MaxPooling2D(3, 2, padding="same")(x)
    x = layers.ZeroPadding2D(((1, 2), (0, 1)))(x)
    x = norm(layers.Conv2D(12, (3, 2), strides=2, name="middle")(x), layers.ReLU(6.0))
    x = layers.AveragePooling2D((2, 1))(x)
    x = layers.Dropout(0.5)(layers.Flatten()(x))
    x = norm(layers.Dense(16, use_bias=False, name="hidden")(x), layers.Activation("relu"))
    return keras.Model(inputs, layers.Dense(5, name="head")(x), name="plain")


def residual():
    """Projections and identities, additions of signed and unsigned codes, strides over odd sizes."""
    inputs = keras.Input(SHAPE)
    x = norm(layers.Conv2D(8, 3, padding="same", name="stem")(standardized(inputs)), layers.ReLU())
    for filters, strides in ((8, 1), (12, 2)):
        y = layers.Conv2D(filters, 3, strides, padding="same", name=f"first{filters}")(x)
        y = norm(y, layers.ReLU())
        y = norm(layers.Conv2D(filters, 3, padding="same", name=f"second{filters}")(y))
        if strides == 2:
            x = norm(layers.Conv2D(filters, 1, strides, name="projection")(x))
        x = layers.ReLU(name=f"sum{filters}")(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(5, name="head")(x), name="residual")


def inverted():
    """Depthwise convolutions, dilated ones and those of two outputs a channel, additions without a ReLU."""
    inputs = keras.Input(SHAPE)

    def relu6(x):
        return layers.ReLU(6.0)(x)

    x = layers.Conv2D(8, 3, 2, padding="same", name="stem")(standardized(inputs))
    x = norm(x, relu6)
    y = norm(layers.Conv2D(12, 1, use_bias=False, name="expand")(x), relu6)
    y = layers.DepthwiseConv2D(3, padding="same", dilation_rate=2, name="depthwise")(y)
    y = norm(layers.Conv2D(8, 1, name="project")(norm(y, relu6)))
    x = layers.Add()([x, y])
    x = layers.DepthwiseConv2D(3, 2, padding="same", depth_multiplier=2, name="doubled")(x)
    x = layers.GlobalAveragePooling2D(keepdims=True)(norm(x, relu6))
    x = layers.Reshape((16,))(x)
    return keras.Model(inputs, layers.Dense(5, name="head")(x), name="inverted")


def raw():
    """A convolution that reads pixels, in a Sequential model."""
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Conv2D(6, 3, padding="same", name="stem", activation="relu"),
            layers.Conv2D(8, 3, dilation_rate=2, name="middle", activation=layers.ReLU()),
            layers.GlobalAveragePooling2D(),
            layers.Dense(5, name="head"),
        ],
        name="raw",
    )


BUILDERS = {each.__name__: each for each in (plain, residual, inverted, raw)}


def built(name):
    """Returns a float network, the same each time."""
    keras.utils.set_random_seed(1)
    return BUILDERS[name]()


def pixels(count, seed=3):
    return np.random.default_rng(seed).integers(0, 256, (count, *SHAPE)).astype(np.uint8)


def quantized(model, scheme=None, policy=None):
    """Returns a model as if trained: statistics of activations, factors of both signs, steps from data."""
    generator = np.random.default_rng(1)
    images = pixels(32).astype(np.float32)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            gamma = generator.uniform(0.5, 1.5, layer.gamma.shape)
            gamma *= np.where(generator.random(gamma.shape) < 0.3, -1, 1)
            gamma[DEAD], gamma[FADED] = 0.0, 1e-12
            layer.gamma.assign(gamma)
            layer.beta.assign(generator.normal(0.2, 0.3, layer.beta.shape))
            layer.momentum = 0.0  # One training pass leaves this batch's own statistics behind.
        elif getattr(layer, "use_bias", False):
            layer.bias.assign(generator.normal(0, 0.1, layer.bias.shape))
    model(images, training=True)
    made = tfqkd.quantize_model(model, scheme or tfqkd.DeployScheme(), policy)
    tfqkd.calibrate_activations(made, images)
    made(images, training=True)
    return made


@functools.cache
def trained(name):
    """Returns a network as if trained; tests must not change it."""
    return quantized(built(name))


@functools.cache
def stripped(name):
    """Returns a network that is ready to be written; tests must not change it."""
    return tfqkd.strip_quantization(trained(name))


@functools.cache
def graph(name):
    return read_graph(stripped(name))
