"""One network and some schemes for both fronts."""

from typing import Any

import numpy as np

from tfqkd.core.quantizers import (
    AbsmeanQuantizer,
    DorefaQuantizer,
    LsqQuantizer,
    TtqQuantizer,
    TwnQuantizer,
)
from tfqkd.core.schemes import Scheme, TernaryScheme, UniformScheme
from tfqkd.fronts.terms import Term

SCHEMES: dict[str, tuple[Any, Any]] = {
    "ternary": (TernaryScheme(), None),
    "ternary channels": (TernaryScheme("channel"), ".*"),
    "4 and 8 bits": (UniformScheme(4, "channel"), {"depthwise": 8, "transpose": 3}),
    "LSQ": (Scheme(LsqQuantizer(3, "channel")), ".*"),
    "TWN": (Scheme(TwnQuantizer()), ".*"),
    "absmean": (Scheme(AbsmeanQuantizer()), ".*"),
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


def balanced_weights(front: Any, keras: Any, given: list[np.ndarray]) -> list[float]:
    """The weights that a front finds for a soft loss and a term, of a network with given weights."""
    student, teacher = network(keras), network(keras)
    student.set_weights(given)
    teacher.set_weights([0.9 * each for each in given])

    def apart(seen: Any) -> Any:
        (one,), (other,) = seen.student_taps, seen.teacher_taps
        return seen.ops.mean((one - other) ** 2, axis=-1)

    term = Term("apart", apart, "balanced:0.5", student_taps=("hidden",), teacher_taps=("hidden",))
    # Its learned scales count in no norm.
    quantized = front.quantize_model(student, Scheme(LsqQuantizer(3, "channel")), ".*")
    settings = {"soft_loss": "kl", "soft_weight": "balanced:2", "terms": [term]}
    distiller = front.Distiller(student=quantized, teacher=teacher, **settings)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    distiller.compile(keras.optimizers.SGD(0.0), loss)
    images = np.random.default_rng(0).normal(size=(12, 8, 8, 3)).astype("float32")
    logs = distiller.fit(images, np.arange(12) % 3, batch_size=12, verbose=0).history
    return [logs["soft_loss_weight"][0], logs["apart_weight"][0]]
