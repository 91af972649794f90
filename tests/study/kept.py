"""The model that a run keeps, measured without the package's own evaluation."""

import json
import pathlib

import numpy as np

from tfqkd.compat import keras
from tfqkd.data.images import Split


def kept_model(run: pathlib.Path) -> pathlib.Path:
    """The file of a run's last model."""
    return run / json.loads((run / "results.json").read_text())["models"][-1]["model"]


def kept_accuracy(run: pathlib.Path, split: Split) -> float:
    """The share of images on which the largest logit is the label's."""
    model = keras.models.load_model(kept_model(run), compile=False)
    logits = model(split.images.astype(np.float32), training=False).numpy()
    return np.count_nonzero(logits.argmax(axis=1) == split.labels) / len(split)
