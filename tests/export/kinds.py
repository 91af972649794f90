"""One small model for each kind of layer, to be exported to every format."""
# ruff: noqa: PLW0108 (a layer belongs to one model: each model that is built makes its own)

from collections.abc import Callable

import numpy as np

from tfqkd.compat import keras, tf

SHAPE = (8, 8, 3)
layers = keras.layers


def _steps(middle: Callable) -> Callable:
    """A middle that reads a sequence: [N, steps, features]."""
    return lambda x: middle(layers.Reshape((x.shape[1], x.shape[2] * x.shape[3]))(x))


def _volume(middle: Callable) -> Callable:
    """A middle that reads a volume: [N, depth, height, width, channels]."""
    return lambda x: middle(layers.Reshape((2, x.shape[1] // 2, x.shape[2], x.shape[3]))(x))


def _behind_convolution(layer: Callable) -> Callable:
    return lambda x: layer(layers.Conv2D(6, 3)(x))


def attention(x, count: int = 1):
    """Attention to itself, with residuals and norms, so many times."""
    for _ in range(count):
        x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 4)(x, x))
    return x


def _towers(x):
    outputs = []
    for name in ("a", "b"):
        inputs = keras.Input(x.shape[1:])
        tower = keras.Model(inputs, layers.Conv2D(4, 3, name="conv")(inputs), name=f"tower_{name}")
        outputs.append(tower(x))
    return layers.Concatenate()(outputs)


def _shared(x):
    layer = layers.Conv2D(x.shape[-1], 3, padding="same", activation="relu")
    return layer(layer(x))


def _squeeze_excite(x):
    weights = layers.Dense(2, activation="relu")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    return layers.Multiply()([x, layers.Dense(x.shape[-1], activation="sigmoid")(weights)])


def _recurrent(unroll: bool) -> dict[str, Callable]:
    options = {"unroll": unroll}
    cells = {
        "LSTM": lambda: layers.LSTM(5, **options),
        "GRU": lambda: layers.GRU(5, **options),
        "GRU, reset before": lambda: layers.GRU(5, reset_after=False, **options),
        "SimpleRNN": lambda: layers.SimpleRNN(5, **options),
        "LSTM, split": lambda: layers.LSTM(5, implementation=1, **options),
        "Bidirectional": lambda: layers.Bidirectional(layers.LSTM(5, **options)),
        "RNN": lambda: layers.RNN([layers.GRUCell(5), layers.LSTMCell(4)], **options),
    }
    return {name: _steps(lambda x, make=make: make()(x)) for name, make in cells.items()}


LOOPS = {f"{name}, looping": middle for name, middle in _recurrent(unroll=False).items()}
KINDS: dict[str, Callable] = {
    "Conv2D": lambda x: layers.Conv2D(6, 3)(x),
    "Conv2D, grouped": lambda x: layers.Conv2D(6, 3, groups=2)(x),
    "DepthwiseConv2D": lambda x: layers.DepthwiseConv2D(3, depth_multiplier=2)(x),
    "Conv2DTranspose": lambda x: layers.Conv2DTranspose(6, 3, strides=2, padding="same")(x),
    "SeparableConv2D": lambda x: layers.SeparableConv2D(6, 3)(x),
    "SeparableConv2D with batch norm": lambda x: layers.BatchNormalization()(
        layers.SeparableConv2D(6, 3, depth_multiplier=2)(x)
    ),
    "LocallyConnected2D": lambda x: layers.LocallyConnected2D(3, 3)(x),
    "zeros": lambda x: layers.Concatenate()(
        [x, layers.Conv2D(3, 3, padding="same", kernel_initializer="zeros")(x)]
    ),
    **{
        f"activation {name}": _behind_convolution(lambda x, name=name: layers.Activation(name)(x))
        for name in ("gelu", "swish", "mish", "hard_sigmoid", "selu", "softplus", "softsign")
    },
    "PReLU": _behind_convolution(lambda x: layers.PReLU(shared_axes=[1, 2])(x)),
    "Softmax": _behind_convolution(lambda x: layers.Softmax()(x)),
    "batch norm": _behind_convolution(lambda x: layers.BatchNormalization()(x)),
    "LayerNormalization": _behind_convolution(lambda x: layers.LayerNormalization()(x)),
    "GroupNormalization": _behind_convolution(lambda x: layers.GroupNormalization(2)(x)),
    "UnitNormalization": _behind_convolution(lambda x: layers.UnitNormalization()(x)),
    "UpSampling2D": _behind_convolution(lambda x: layers.UpSampling2D()(x)),
    "Resizing": _behind_convolution(lambda x: layers.Resizing(11, 9)(x)),
    "CenterCrop": _behind_convolution(lambda x: layers.CenterCrop(4, 4)(x)),
    "operations of TensorFlow": _behind_convolution(
        lambda x: tf.reduce_mean(tf.nn.relu(x) * 2 + 1, axis=1)
    ),
    "squeeze and excite": _squeeze_excite,
    "two towers with layers of one name": _towers,
    "a layer that is called twice": _shared,
    "Dense on rank 4": lambda x: layers.Dense(5, activation="relu")(x),
    "Dense on rank 3": _steps(lambda x: layers.Dense(5)(layers.Dense(6, activation="relu")(x))),
    "EinsumDense": _steps(
        lambda x: layers.EinsumDense("abc,cde->abde", (None, 3, 5), bias_axes="de")(x)
    ),
    "TimeDistributed": _steps(lambda x: layers.TimeDistributed(layers.Dense(5))(x)),
    "Conv1D": _steps(lambda x: layers.Conv1D(6, 3, padding="causal", dilation_rate=2)(x)),
    "Conv1DTranspose": _steps(lambda x: layers.Conv1DTranspose(6, 3, strides=2)(x)),
    "DepthwiseConv1D": _steps(lambda x: layers.DepthwiseConv1D(3)(x)),
    "SeparableConv1D": _steps(lambda x: layers.SeparableConv1D(6, 3)(x)),
    "MultiHeadAttention": _steps(attention),
    "two MultiHeadAttention": _steps(lambda x: attention(x, 2)),
    "Attention": _steps(
        lambda x: layers.Attention(use_scale=True)([layers.Dense(6)(x), layers.Dense(6)(x)])
    ),
    **{f"{name}, unrolled": middle for name, middle in _recurrent(unroll=True).items()},
    **LOOPS,
    "Conv3D": _volume(lambda x: layers.BatchNormalization()(layers.Conv3D(5, 2)(x))),
    "Conv3DTranspose": _volume(lambda x: layers.Conv3DTranspose(5, 2)(x)),
}


def build(middle: Callable) -> keras.Model:
    """Returns a model with a stem, a middle and a head, its norms as if trained."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input(SHAPE)
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="stem")(x)
    x = layers.Flatten()(middle(x))
    model = keras.Model(inputs, layers.Dense(4, name="head")(x))
    generator = np.random.default_rng(5)
    for weight in model.weights:
        if "moving_variance" in weight.name:
            weight.assign(generator.uniform(0.5, 2, weight.shape))
        elif "kernel" not in weight.name:
            weight.assign(weight + generator.normal(0, 0.1, weight.shape))
    return model


def pixels(count: int) -> np.ndarray:
    """Returns random images, float32 in 0..255."""
    return np.random.default_rng(4).integers(0, 256, (count, *SHAPE)).astype(np.float32)
