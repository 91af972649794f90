"""Prints of each kind of layer whether it trains, strips exactly and comes back from a file, as JSON."""

import json
import pathlib
import sys
import tempfile
import traceback
from collections.abc import Callable

import keras
import numpy as np
from keras import layers

from tests.export import keras3_kinds
from tests.export.keras3_kinds import NAME
from tests.fronts.keras3.inside.nets import array, cross_entropy
from tfqkd.core.quantizers import UniformQuantizer
from tfqkd.core.schemes import TernaryScheme
from tfqkd.fronts import keras3


@keras.saving.register_keras_serializable("tests")
class Mixing(layers.Layer):
    """A layer of one's own: a kernel by its name."""

    def build(self, shape):
        self.mixing_kernel = self.add_weight((shape[-1], 4), name="mixing_kernel")

    def call(self, inputs):
        return keras.ops.relu(inputs @ self.mixing_kernel)


@keras.saving.register_keras_serializable("tests")
class Perceptron(keras.Model):
    """A subclassed model, whose author may wrap the layers."""

    def __init__(self, wrapped=False, **kwargs):
        super().__init__(**kwargs)
        self.wrapped = wrapped
        hidden = layers.Dense(4, activation="relu", name="hidden")
        self.hidden = keras3.QuantizedLayer(hidden, UniformQuantizer(2)) if wrapped else hidden
        self.logits = layers.Dense(3, name="logits")

    def call(self, inputs):
        return self.logits(self.hidden(inputs))

    def get_config(self):
        return {**super().get_config(), "wrapped": self.wrapped}


def flat(make: Callable) -> Callable:
    return lambda x: make()(layers.Flatten()(x))


def twice(x):
    shared = layers.Dense(12, name=NAME)
    return shared(shared(layers.Reshape((6, 12))(x)))


def moving(x):
    return layers.ConvLSTM2D(3, 2, name=NAME)(layers.Reshape((2, 3, 4, 3))(x))


def timed(x):
    return layers.TimeDistributed(layers.Dense(4), name=NAME)(layers.Reshape((6, 12))(x))


MORE: dict[str, Callable] = {
    "ConvLSTM2D": moving,
    "TimeDistributed Dense": timed,
    "Dense, called twice": twice,
    "a layer of your own": flat(lambda: Mixing(name=NAME)),
    "a subclassed model within": flat(lambda: Perceptron(name=NAME)),
}
KINDS = keras3_kinds.KINDS | MORE
ALONE = "a subclassed model whose author wraps a layer"
"""It is no layer of another model."""


def build(kind: str) -> keras.Model:
    if kind != ALONE:
        keras3_kinds.KINDS[kind] = KINDS[kind]
        return keras3_kinds.build(kind)
    model = Perceptron(wrapped=True)
    model(np.zeros((1, *keras3_kinds.SHAPE), "float32").reshape(1, -1))
    return model


def row(kind: str) -> list[str]:
    """The number of kernels, and whether the kind trains, strips exactly, and comes back."""
    model, images = build(kind), keras3_kinds.pixels(8)
    if kind == ALONE:
        quantized, images = model, images.reshape(8, -1) / 255
        kernels = [(model.hidden.layer.kernel, held) for held in model.hidden.quantized]
    else:
        scheme = TernaryScheme("channel", "every_step")
        quantized = keras3.quantize_model(model, scheme, [NAME])
        kernels = [(kernel.latent, kernel.held) for kernel in keras3.quantized_kernels(quantized)]
    before = [array(latent.value) for latent, _ in kernels]
    quantized.compile(keras.optimizers.SGD(0.1), cross_entropy())
    quantized.fit(images, np.arange(8) % 3, batch_size=8, verbose=0)
    trains = all(
        np.any(array(latent.value) != old) for (latent, _), old in zip(kernels, before, strict=True)
    )
    return [
        str(len(kernels)),
        *map(said, (trains, strips(quantized, kernels, images, kind), loads(quantized))),
    ]


def said(answer: bool | None) -> str:
    return "–" if answer is None else "yes" if answer else "no"


def strips(quantized: keras.Model, kernels: list, images: np.ndarray, kind: str) -> bool | None:
    """Whether the stripped kernels are the quantized ones, codes times a step, to the bit."""
    for _, held in kernels:
        value, step = array(held.value()), array(held.scales())
        codes = np.divide(value, step, out=np.zeros_like(value), where=step > 0)
        assert set(np.unique(codes)) <= {-1.0, 0.0, 1.0}
    if kind == ALONE:
        return None  # Its author takes the wrapper off.
    values = {latent.path: array(held.value()) for latent, held in kernels}
    stripped = keras3.strip_quantization(quantized)
    plain = {variable.path: array(variable.value) for variable in stripped.weights}
    np.testing.assert_allclose(array(stripped(images)), array(quantized(images)), atol=1e-5)
    return all(np.array_equal(plain[path], value) for path, value in values.items())


def loads(quantized: keras.Model) -> bool:
    """Whether a file gives the same weights back."""
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / "model.keras"
        quantized.save(path)
        loaded = keras.models.load_model(path)
    pairs = zip(quantized.get_weights(), loaded.get_weights(), strict=True)
    return all(np.array_equal(one, other) for one, other in pairs)


def main() -> None:
    found = {}
    for kind in [*KINDS, ALONE]:
        try:
            found[kind] = row(kind)
        except Exception:
            traceback.print_exc()
            found[kind] = ["failed"]
    print("ROWS", json.dumps(found))


if __name__ == "__main__":
    sys.exit(main())
