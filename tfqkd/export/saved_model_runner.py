"""Runs a SavedModel on images from an .npz file: `python saved_model_runner.py MODEL INPUT OUTPUT`.

It imports TensorFlow itself, and nothing of tfqkd or Keras: a SavedModel must run where neither is
installed.
"""

import sys
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

_BATCH = 64  # Bounds the memory for activations, however many images there are.


def main(arguments: Sequence[str]) -> None:
    """Reads `images`, writes what the model returns as `logits`."""
    model_path, input_path, output_path = arguments
    # Held until the end: the signature alone does not keep the variables alive.
    model = tf.saved_model.load(model_path)
    serve = model.signatures["serving_default"]
    with np.load(input_path, allow_pickle=False) as arrays:
        images = arrays["images"].astype(np.float32)
    starts = range(0, len(images), _BATCH)
    batches = [serve(images=tf.constant(images[start : start + _BATCH])) for start in starts]
    outputs = [output for batch in batches for output in batch.values()]
    np.savez(output_path, logits=tf.concat(outputs, axis=0).numpy())


if __name__ == "__main__":
    main(sys.argv[1:])
