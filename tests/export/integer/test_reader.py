"""What has no integer graph is refused before anything is written, by the layer's name."""

import re

import numpy as np
import pytest

import tfqkd
from tfqkd.compat import keras
from tfqkd.core.activations import LsqActivationQuantizer, PactQuantizer
from tfqkd.core.quantizers import UniformQuantizer
from tfqkd.export import ExportError
from tfqkd.fronts.tfmot.layers import ActivationQuantization

from . import networks, reference

layers = keras.layers


def ternary(shape, dtype=None):  # As Keras calls it.
    """Gives kernels codes without quantizing the model."""
    return np.random.default_rng(0).integers(-1, 2, shape).astype(np.float32)


def between(middle):
    """A stem, what is in question, and a head, with steps behind the image and the stem."""
    inputs = keras.Input(networks.SHAPE)
    x = ActivationQuantization(1 / 255, 0, 255)(layers.Rescaling(1 / 255)(inputs))
    x = layers.Conv2D(
        8, 3, padding="same", activation="relu", kernel_initializer=ternary, name="stem"
    )(x)
    x = middle(ActivationQuantization(0.1, 0, 255)(x))
    return keras.Model(inputs, layers.Dense(5, name="head")(layers.GlobalAveragePooling2D()(x)))


def convolution(**settings):
    return layers.Conv2D(
        8, 3, padding="same", kernel_initializer=ternary, name="middle", **settings
    )


def stepped(x):
    return ActivationQuantization(0.1, -128, 127)(x)


REFUSED = {
    "grouped": (convolution(groups=2), "'middle', with 2 groups"),
    "swish": (convolution(activation="swish"), "'middle', with the activation swish"),
    "leaky": (
        lambda x: layers.ReLU(negative_slope=0.1, name="leaky")(convolution()(x)),
        "'leaky', which is neither a plain ReLU nor a ReLU6",
    ),
    "norm before": (
        lambda x: convolution()(layers.BatchNormalization(name="norm")(x)),
        "'norm', which is not right behind a convolution or dense layer",
    ),
    "norm behind a ReLU": (
        lambda x: layers.BatchNormalization(name="norm")(convolution(activation="relu")(x)),
        "'norm', which is not right behind",
    ),
    "three added": (
        lambda x: layers.Add(name="sum")([x, x, x]),
        "'sum', of 3 inputs",
    ),
    "broadcast": (
        lambda x: layers.Add(name="sum")(
            [x, stepped(layers.GlobalAveragePooling2D(keepdims=True)(x))]
        ),
        r"'sum', of shapes \(13, 12, 8\) and \(1, 1, 8\)",
    ),
    "multiplied": (
        lambda x: layers.Multiply(name="gate")([x, convolution()(x)]),
        "'gate', a Multiply",
    ),
    "separable": (
        layers.SeparableConv2D(8, 3, name="middle"),
        "'middle', a SeparableConv2D",
    ),
    "transposed": (
        layers.Conv2DTranspose(8, 3, name="middle"),
        "'middle', a Conv2DTranspose",
    ),
    "averaged over padding": (
        layers.AveragePooling2D(2, padding="same", name="pool"),
        "'pool', which averages over padding",
    ),
    "scaled within": (
        lambda x: layers.Rescaling(2.0, name="scale")(convolution()(x)),
        "'scale', which scales other values than the image",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_layer_without_an_integer_operation_is_refused_by_name(name):
    middle, message = REFUSED[name]
    with pytest.raises(ExportError, match="An integer file is made of .*layer " + message):
        networks.read_graph(between(middle))


@pytest.mark.parametrize(
    ("scheme", "message"),
    [
        (tfqkd.TernaryScheme(), "layer 'stem', whose kernel is not"),
        (
            tfqkd.Scheme(UniformQuantizer(2), LsqActivationQuantizer(8)),
            "'middle', whose output has none",
        ),
        (
            tfqkd.Scheme(UniformQuantizer(2), LsqActivationQuantizer(4)),
            "codes 0 to 255 or -128 to 127.*'.*_quantization' with -8 to 7",
        ),
        (tfqkd.Scheme(UniformQuantizer(2), PactQuantizer(8)), "'.*' with -127 to 127"),
    ],
)
def test_a_model_without_all_trained_steps_is_refused_with_what_to_set(scheme, message):
    # What the average reads has no step but with DeployScheme; PACT has no code -128.
    policy = None if scheme.activations is None else ".*"
    model = unquantized()
    stripped = tfqkd.strip_quantization(tfqkd.quantize_model(model, scheme, policy))
    with pytest.raises(ExportError, match=re.compile(message, re.DOTALL)) as caught:
        networks.read_graph(stripped)
    assert "Nothing was written" in str(caught.value) and "DeployScheme" in str(caught.value)


def unquantized():
    inputs = keras.Input(networks.SHAPE)
    x = layers.Conv2D(4, 3, name="stem", activation="relu")(layers.Rescaling(1 / 255)(inputs))
    x = layers.Conv2D(4, 3, name="middle", activation="relu")(x)
    return keras.Model(inputs, layers.Dense(5, name="head")(layers.GlobalAveragePooling2D()(x)))


def test_a_layer_that_is_used_twice_is_two_operations():
    inputs = keras.Input(networks.SHAPE)
    shared, relu = layers.Conv2D(8, 3, padding="same", name="middle"), layers.ReLU()
    x = layers.Conv2D(8, 3, padding="same", name="stem")(layers.Rescaling(1 / 255)(inputs))
    x = relu(shared(relu(shared(relu(x)))))
    model = keras.Model(inputs, layers.Dense(5, name="head")(layers.GlobalAveragePooling2D()(x)))
    stripped = tfqkd.strip_quantization(networks.quantized(model))
    graph = networks.read_graph(stripped)
    assert [operation.layer for operation in graph.operations].count("middle") == 2
    images = networks.pixels(8)
    codes = stripped(images.astype(np.float32)).numpy() / graph.tensors[-1].scale
    assert np.abs(reference.run(graph, images)[-1] - codes).max() <= 1.01
