"""Runs a .keras file on images from an .npz file: `python keras_runner.py MODEL INPUT OUTPUT`.

It imports tf_keras itself, and nothing of tfqkd: the file must run where that is not installed.
"""

import sys
from collections.abc import Sequence

import numpy as np
import tf_keras

_BATCH = 64  # Bounds the memory for activations, however many images there are.


def main(arguments: Sequence[str]) -> None:
    """Reads `images`, writes what the model returns as `logits`."""
    model_path, input_path, output_path = arguments
    model = tf_keras.models.load_model(model_path, compile=False)
    with np.load(input_path, allow_pickle=False) as arrays:
        images = arrays["images"].astype(np.float32)
    np.savez(output_path, logits=model.predict(images, batch_size=_BATCH, verbose=0))


if __name__ == "__main__":
    main(sys.argv[1:])
