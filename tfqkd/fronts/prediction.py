"""What a Keras model returns for raw images; of either Keras."""

from typing import Any

import numpy as np

from tfqkd.data.pictures import Pictures


def predicted(model: Any, images: np.ndarray | Pictures, batch_size: int) -> np.ndarray:
    """Returns the outputs of a classifier for raw images, float32 `[N, classes]`."""
    if isinstance(images, Pictures):
        parts = (images[at : at + batch_size] for at in range(0, len(images), batch_size))
        return np.concatenate([predicted(model, part, batch_size) for part in parts])
    return np.asarray(model.predict(images, batch_size=batch_size, verbose=0), np.float32)
