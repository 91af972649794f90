"""Measures files that need TensorFlow: `python -m tfqkd.export.tensorflow_files MEASURE ARGUMENTS`.

MEASURE is "latency" or "footprint", ARGUMENTS a JSON object, see the module of that name in
`tfqkd.runtime`. Files of other runtimes are measured beside them.
"""

import dataclasses
import json
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from tfqkd.compat import keras, tf
from tfqkd.runtime.footprint import footprint
from tfqkd.runtime.latency import latencies
from tfqkd.runtime.loading import load
from tfqkd.runtime.signature import INPUT, SIGNATURE

_MEASURES: dict[str, Callable[..., Any]] = {"latency": latencies, "footprint": footprint}


@dataclasses.dataclass(frozen=True)
class TensorflowFile:
    """A SavedModel or .keras file as a function from images to what it returns.

    Attributes:
        input_shape: (H, W, C) of one image.
        serve: The function, from float32 images.
        model: What it belongs to: a signature alone does not keep its variables alive.
    """

    input_shape: tuple[int, ...]
    serve: Callable[[np.ndarray], np.ndarray]
    model: Any

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Returns the logits, float32 [N, classes], of uint8 or float32 images [N, H, W, C]."""
        return self.serve(images.astype(np.float32))


def load_any(path: str, threads: int | None = None, *, direct: bool = False) -> Any:
    """Loads an exported file of any format.

    Args:
        path: The file, or the directory of a SavedModel.
        threads: How many threads it uses; the same for all files of TensorFlow in a process.
        direct: See `tfqkd.runtime.load`.
    """
    is_keras, is_saved_model = path.endswith(".keras"), pathlib.Path(path).is_dir()
    if not is_keras and not is_saved_model:
        return load(path, threads, direct=direct)
    if threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    if is_keras:
        model = keras.models.load_model(path, compile=False)
        return TensorflowFile(model.input_shape[1:], model.predict_on_batch, model)
    model = tf.saved_model.load(path)
    signature = model.signatures[SIGNATURE]
    (output,) = signature.structured_outputs
    return TensorflowFile(
        tuple(signature.structured_input_signature[1][INPUT].shape[1:]),
        lambda images: signature(**{INPUT: tf.constant(images)})[output].numpy(),
        model,
    )


if __name__ == "__main__":
    measure = _MEASURES[sys.argv[1]]
    print(json.dumps(measure(**json.loads(sys.argv[2]), load=load_any)))
