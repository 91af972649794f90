"""What a Keras model returns for raw images; of either Keras."""

from typing import Any

import numpy as np

from tfqkd.data.pictures import Pictures

_BATCH = 500


def predicted(model: Any, images: np.ndarray | Pictures) -> np.ndarray:
    """Returns the outputs of a classifier for raw images, float32 `[N, classes]`."""
    if isinstance(images, Pictures):
        parts = (images[at : at + _BATCH] for at in range(0, len(images), _BATCH))
        return np.concatenate([predicted(model, part) for part in parts])
    return np.asarray(model.predict(images, batch_size=_BATCH, verbose=0), np.float32)
