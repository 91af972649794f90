"""What every exported file looks like from outside; the writers and the runtimes share it."""

from typing import NamedTuple

import numpy as np

SIGNATURE = "serving_default"
INPUT = "images"
"""float32 [N, H, W, C], raw pixels in 0..255: what a model of one such input takes."""
OTHER_INPUT = "inputs"
"""What the one input of another model is called. Several inputs have the names that the user gave them."""
OUTPUT = "logits"
"""float32 [N, classes]. Files name what they return as `outputs.SIGNATURE_NAMES` does; several outputs have
the names that the user gave them."""
METADATA = "tfqkd"
"""A LiteRT file's metadata entry, a JSON object: producer, format, input_range, centre_crop (true where
images are to be cut to their middle before they are resized), inputs (their names in order; images where it
is missing), class_names and output (see `outputs.OUTPUTS`; logits where it is missing), both objects by the
name of the output where there are several, and the options that were chosen."""
METADATA_ENTRY = f"{METADATA}.json"
"""Where a `.tflm` folder has the same."""
KERAS_METADATA = "metadata.json"
"""Where a `.keras` file, a zip archive, has the same, under METADATA and beside what Keras keeps there."""
METADATA_FILE = f"assets.extra/{METADATA}.json"
"""Where a SavedModel, a folder, has the same."""


class Tensor(NamedTuple):
    """An input or output of a signature.

    Attributes:
        shape: With the batch; None where any size is taken.
        type: Of its numbers.
    """

    shape: tuple[int | None, ...]
    type: np.dtype
