"""Teachers that the Keras of a run does not load: exported files, and models of the other Keras.

They take raw pixels and are asked once, for logits that are kept; no step holds them.
"""

import pathlib
from typing import Any

import numpy as np

from tfqkd.fronts.files import open_file
from tfqkd.fronts.front import Facts, Opened
from tfqkd.fronts.model_archive import is_of_keras3
from tfqkd.process.notices import without_notices
from tfqkd.runtime.classification import require_classifier
from tfqkd.runtime.loading import RUNTIME_SUFFIXES, load
from tfqkd.runtime.outputs import LOGITS, SOFTMAX
from tfqkd.runtime.signature import METADATA_FILE

_BATCH = 256
_LEAST = 1e-7  # Of a probability, before its logarithm: float32 tells no less from 1.
_KERAS_3 = 3


class ForeignTeacher:
    """A model file as a function from raw images to logits.

    Args:
        path: An exported file (.tflite, .packed, .onnx, or the folder of a SavedModel), or a Keras model.

    Raises:
        ValueError: If it does not load, or is no classifier of images.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self._opened = open_any(path)

    def __call__(self, images: Any) -> Any:
        """Returns logits float32 `[n, classes]` of raw images; of a tensor in a graph, as one."""
        if isinstance(images, np.ndarray):
            return self.logits(images)
        from tfqkd.compat import tf  # noqa: PLC0415 (other fronts give arrays)

        said = tf.numpy_function(self.logits, [tf.cast(images, tf.uint8)], tf.float32)
        return tf.ensure_shape(said, [images.shape[0], self.facts().output_shape[0]])

    def logits(self, images: Any) -> np.ndarray:
        """Returns logits float32 `[n, classes]`; of probabilities their logarithms, which soften alike.

        Raises:
            ValueError: If it returns neither.
        """
        parts = range(0, len(images), _BATCH)
        said = np.concatenate([self._opened.serve(images[at : at + _BATCH]) for at in parts])
        output = self._opened.output
        kind = output if isinstance(output, str) else output(said)
        if kind == SOFTMAX:
            return np.log(np.maximum(said, _LEAST)).astype(np.float32)
        if kind != LOGITS:
            raise ValueError(
                "A teacher must return logits, or probabilities of classes. "
                f"Received: {self._path}, which returns {kind}. Choose another."
            )
        return np.asarray(said, np.float32)

    def facts(self) -> Facts:
        """Returns name and shapes; what a file is made of it does not tell: 0 parameters."""
        shape = tuple(side or None for side in self._opened.image_shape)
        probe = np.zeros((1, *(side or 1 for side in shape)), np.uint8)
        return Facts(self._path.stem, 0, shape, self.logits(probe).shape[1:])


def is_foreign(path: pathlib.Path, keras: int | None) -> bool:
    """Whether the Keras of a run does not load a model.

    Args:
        path: The file, or the folder of a SavedModel.
        keras: 3, or None for tf_keras.
    """
    if path.suffix in RUNTIME_SUFFIXES:
        return True
    if path.is_dir():
        return keras == _KERAS_3 or (path / METADATA_FILE).exists()
    return is_of_keras3(path) != (keras == _KERAS_3)


def open_any(path: pathlib.Path) -> Opened:
    """Opens a Keras model of either kind, or an exported file."""
    if path.suffix in RUNTIME_SUFFIXES:
        with without_notices():
            model = load(path)
        require_classifier(model)
        return Opened(model.input_shape, model, model.output, model.centre_crop)
    return open_file(path)
