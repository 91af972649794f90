"""Loads a model that another backend has saved, and writes its weights and logits."""

import pathlib
import sys

import keras
import numpy as np

from tfqkd.fronts import keras3  # noqa: F401 (tells Keras its classes)


def main(file: pathlib.Path, images: pathlib.Path, target: pathlib.Path) -> None:
    model = keras.models.load_model(file)
    weights = {f"weight_{index}": w for index, w in enumerate(model.get_weights())}
    logits = model.predict(np.load(images)["images"], verbose=0)
    np.savez(target, logits=logits, **weights)


if __name__ == "__main__":
    main(*map(pathlib.Path, sys.argv[1:]))
