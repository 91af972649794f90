"""What both fronts do alike with a model of their Keras."""

import json
import pathlib
from typing import Any

import numpy as np

from tfqkd.data.pictures import Pictures
from tfqkd.storage import digest

_BATCH = 500


def predicted(model: Any, images: np.ndarray | Pictures) -> np.ndarray:
    """Returns the outputs of a classifier for raw images, float32 `[N, classes]`."""
    if isinstance(images, Pictures):
        parts = (images[at : at + _BATCH] for at in range(0, len(images), _BATCH))
        return np.concatenate([predicted(model, part) for part in parts])
    return np.asarray(model.predict(images, batch_size=_BATCH, verbose=0), np.float32)


def save(model: Any, path: pathlib.Path) -> None:
    """Saves a model."""
    model.save(path)


def model_fingerprint(model: Any) -> str:
    """Returns the SHA-256 of a model's architecture and of the values of its weights."""
    architecture = json.dumps(json.loads(model.to_json()), sort_keys=True)
    return digest(architecture, *(weight.tobytes() for weight in model.get_weights()))
