"""Runs a .keras file on batches from an .npz file: `python keras_runner.py MODEL INPUT OUTPUT`.

It imports tf_keras itself, and nothing of tfqkd: the file must run where that is not installed.
"""

import json
import sys
import zipfile
from collections.abc import Sequence

import numpy as np

if __name__ == "__main__":
    # TensorFlow would load them, if they are installed.
    sys.modules.update(dict.fromkeys(("jax", "keras")))  # type: ignore[arg-type]

import tensorflow as tf
import tf_keras

_BATCH = 64  # Bounds the memory for activations, however many examples there are.


def main(arguments: Sequence[str]) -> None:
    """Reads the inputs in the order of the model's, writes what it returns by the names that it says."""
    model_path, input_path, output_path = arguments
    model = tf_keras.models.load_model(model_path, compile=False)
    with np.load(input_path, allow_pickle=False) as arrays:
        inputs = list(arrays.values())
    with zipfile.ZipFile(model_path) as archive:
        said = json.loads(archive.read("metadata.json"))["tfqkd"]["output"]
    given = tf.nest.pack_sequence_as(model._nested_inputs, inputs)
    outputs = tf.nest.flatten(model.predict(given, batch_size=_BATCH, verbose=0))
    names = list(said) if isinstance(said, dict) else ["output"]
    np.savez(output_path, **dict(zip(names, outputs, strict=True)))


if __name__ == "__main__":
    main(sys.argv[1:])
