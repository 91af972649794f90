"""A small classifier with kernels of known codes, for the tests of export."""

import numpy as np

from tfqkd.compat import keras

SHAPE = (12, 12, 3)
CLASSES = 5
CLASS_NAMES = ("apple", "crème brûlée", "green, round", "猫", "e")
STEP = np.float32(0.0713)
MAX_CODES = {"depthwise": 1, "ternary": 1, "three_bit": 3, "four_bit": 7, "hidden": 127}
FLOAT_LAYERS = ("stem", "head")
DEAD_CHANNEL = 2


def build() -> tuple[keras.Model, dict[str, np.ndarray]]:
    """Returns the model and, per quantized layer, its codes in the layout of its Keras kernel."""
    keras.utils.set_random_seed(7)
    layers = keras.layers

    def normalised(x):
        # Momentum 0: one training pass leaves this batch's own statistics behind.
        return layers.BatchNormalization(momentum=0.0)(x)

    inputs = keras.Input(SHAPE)
    x = layers.Normalization(mean=[120.0, 115.0, 100.0], variance=[3600.0] * 3)(inputs)
    x = layers.ReLU()(normalised(layers.Conv2D(8, 3, padding="same", name="stem")(x)))
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise")(x)
    x = layers.ReLU()(normalised(x))
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name="ternary")(x)
    x = layers.ReLU()(normalised(x))
    y = layers.Conv2D(8, 3, padding="same", use_bias=False, name="three_bit")(x)
    y = layers.ReLU()(normalised(y))
    # A bias, and no activation after the normalisation.
    y = normalised(layers.Conv2D(8, 1, name="four_bit")(y))
    x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.Flatten()(layers.AveragePooling2D(3)(x))
    x = layers.ReLU()(normalised(layers.Dense(16, use_bias=False, name="hidden")(x)))
    model = keras.Model(inputs, layers.Dense(CLASSES, name="head")(x), name="small")

    generator = np.random.default_rng(7)
    codes = {name: _draw(model.get_layer(name), top, generator) for name, top in MAX_CODES.items()}
    _train_normalisation(model, generator)
    return model, codes


def _draw(layer: keras.layers.Layer, top: int, generator: np.random.Generator) -> np.ndarray:
    kernel = layer.weights[0]
    codes = generator.integers(-top, top + 1, kernel.shape)
    # One channel of each convolution is dead; all others use code 1, so that no coarser codes fit.
    if layer.name == "depthwise":
        codes[0, 0] = 1
        codes[:, :, DEAD_CHANNEL] = 0
    else:
        codes[..., 0, :] = 1
        codes[..., DEAD_CHANNEL] = 0
    kernel.assign(STEP * codes.astype(np.float32))
    return codes


def _train_normalisation(model: keras.Model, generator: np.random.Generator) -> None:
    """Gives the statistics of real activations, factors of both signs, and one large one each."""
    model(generator.uniform(0, 255, (32, *SHAPE)).astype(np.float32), training=True)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma = generator.normal(0.0, 1.0, layer.gamma.shape)
            gamma[0] = -40.0
            layer.gamma.assign(gamma)
            layer.beta.assign(generator.normal(0.0, 1.0, layer.beta.shape))
    # Tolerances are relative to large logits: keep these as small as a trained model's.
    head = model.get_layer("head")
    head.kernel.assign(head.kernel * 10.0 / np.abs(model(pixels(32))).max())


def pixels(count: int, seed: int = 3) -> np.ndarray:
    """Returns random images, float32 [count, *SHAPE] in 0..255."""
    return np.random.default_rng(seed).uniform(0, 255, (count, *SHAPE)).astype(np.float32)


def normalisation_after(model: keras.Model, name: str) -> keras.layers.Layer:
    """Returns the batch normalisation that follows a layer."""
    layers = model.layers
    following = layers[layers.index(model.get_layer(name)) :]
    return next(layer for layer in following if "batch_normalization" in layer.name)
