"""Runs a SavedModel on batches from an .npz file: `python saved_model_runner.py MODEL INPUT OUTPUT`.

It imports TensorFlow itself, and nothing of tfqkd or Keras: a SavedModel must run where neither is
installed.
"""

import sys
from collections.abc import Sequence

import numpy as np

if __name__ == "__main__":
    # TensorFlow would load them, if they are installed: that takes as long as the rest of it.
    sys.modules.update(dict.fromkeys(("jax", "keras", "tf_keras")))  # type: ignore[arg-type]

import tensorflow as tf

_BATCH = 64  # Bounds the memory for activations, however many examples there are.


def main(arguments: Sequence[str]) -> None:
    """Reads the inputs by name, writes what the model returns by name."""
    model_path, input_path, output_path = arguments
    # Held until the end: the signature alone does not keep the variables alive.
    model = tf.saved_model.load(model_path)
    serve = model.signatures["serving_default"]
    with np.load(input_path, allow_pickle=False) as arrays:
        inputs = dict(arrays)
    count = len(next(iter(inputs.values())))
    fixed = next(iter(serve.structured_input_signature[1].values())).shape[0]
    size = fixed or _BATCH
    # A batch of a fixed size is filled up.
    rows = np.minimum(np.arange(-(-count // size) * size if fixed else count), count - 1)
    parts = []
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        parts.append(serve(**{name: tf.constant(each[part]) for name, each in inputs.items()}))
    outputs = {}
    for name in parts[0]:
        outputs[name] = tf.concat([part[name] for part in parts], 0).numpy()[:count]
    np.savez(output_path, **outputs)


if __name__ == "__main__":
    main(sys.argv[1:])
