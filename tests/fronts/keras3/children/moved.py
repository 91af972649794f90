"""Writes a quantized model that was trained with one backend, or reads it with another."""

import pathlib
import sys

import keras
import numpy as np

from tests.fronts.keras3.inside.nets import batch, cross_entropy, perceptron
from tfqkd.core.schemes import TernaryScheme
from tfqkd.fronts import keras3


def main(mode: str, folder: pathlib.Path) -> None:
    inputs, labels = batch(16)
    if mode == "write":
        model = keras3.quantize_model(perceptron(), TernaryScheme(step_update="every_step"))
        model.compile("adam", cross_entropy())
        model.fit(inputs, labels, epochs=2, verbose=0)
        model.save(folder / "model.keras")
    else:
        model = keras.models.load_model(folder / "model.keras")
    stripped = keras3.strip_quantization(model)
    weights = {f"weight_{index}": w for index, w in enumerate(model.get_weights())}
    plain = {f"plain_{index}": w for index, w in enumerate(stripped.get_weights())}
    logits = model.predict(inputs, verbose=0)
    np.savez(folder / f"{mode}.npz", logits=logits, **weights, **plain)


if __name__ == "__main__":
    main(sys.argv[1], pathlib.Path(sys.argv[2]))
