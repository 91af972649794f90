"""Trains and saves where TensorFlow is not installed, and looks what an export says there."""

import importlib.util
import json
import pathlib
import sys

import keras
import numpy as np

import tfqkd


def network(width: int, name: str) -> keras.Model:
    layers = keras.layers
    x = inputs = keras.Input((8, 8, 1), name="images")
    for index in (1, 2):
        x = layers.Conv2D(width, 3, padding="same", use_bias=False, name=f"conv{index}")(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(3, name="logits")(x), name=name)


def main(folder: pathlib.Path) -> None:
    keras.utils.set_random_seed(1)
    random = np.random.default_rng(0)
    images, labels = random.integers(0, 256, (32, 8, 8, 1)), random.integers(0, 3, 32)
    images = images.astype("float32")
    student = tfqkd.quantize_model(network(4, "student"), tfqkd.TernaryScheme())
    distiller = tfqkd.Distiller(student=student, teacher=network(6, "teacher"))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    distiller.compile("adam", loss)
    annealing = tfqkd.CoefficientScheduler(tfqkd.schedules.Linear(1.0, 0.0), on="step")
    distiller.fit(images, labels, batch_size=8, epochs=2, callbacks=[annealing], verbose=0)
    student.save(folder / "training.keras")
    stripped = tfqkd.strip_quantization(student)
    stripped.save(folder / "student.keras")
    try:
        tfqkd.export.to_litert(student, folder / "student.tflite")
        said = "it has exported"
    except ImportError as error:
        said = str(error)
    facts = {
        "backend": keras.backend.backend(),
        "tensorflow": importlib.util.find_spec("tensorflow") is not None,
        "codes": len(np.unique(stripped.get_layer("conv2").get_weights()[0])),
        "said": said,
    }
    (folder / "facts.json").write_text(json.dumps(facts))
    np.savez(folder / "logits.npz", images=images, logits=stripped.predict(images, verbose=0))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
