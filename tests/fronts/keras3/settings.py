"""One network and some schemes for both fronts."""

from typing import Any

from tfqkd.core.quantizers import DorefaQuantizer, LsqQuantizer, TtqQuantizer, TwnQuantizer
from tfqkd.core.schemes import Scheme, TernaryScheme, UniformScheme

SCHEMES: dict[str, tuple[Any, Any]] = {
    "ternary": (TernaryScheme(), None),
    "ternary channels": (TernaryScheme("channel"), ".*"),
    "4 and 8 bits": (UniformScheme(4, "channel"), {"depthwise": 8, "transpose": 3}),
    "LSQ": (Scheme(LsqQuantizer(3, "channel")), ".*"),
    "TWN": (Scheme(TwnQuantizer()), ".*"),
    "TTQ": (Scheme(TtqQuantizer()), ".*"),
    "DoReFa": (Scheme(DorefaQuantizer(2)), ".*"),
}
"""Schemes, with the layers that they are for."""


def network(keras: Any) -> Any:
    """A small network of layers that both fronts quantize, of a Keras module."""
    layers = keras.layers
    x = inputs = keras.Input((8, 8, 3), name="images")
    x = layers.Conv2D(6, 3, name="first")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.SeparableConv2D(5, 2, name="separable")(x)
    x = layers.Conv2DTranspose(4, 2, name="transpose")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(7, name="hidden")(x)
    return keras.Model(inputs, layers.Dense(3, name="logits")(x), name="network")
