"""Whether a file classifies the test images as the Keras model does."""

import math

import numpy as np

from tfqkd.export.formats import Format
from tfqkd.export.source import Source
from tfqkd.export.verification import ExportError


def checked_accuracy(outputs: np.ndarray, source: Source, form: Format, name: str) -> float:
    """Returns the accuracy of a file on the test images, if it is the model's.

    Where k of n images change class by chance alone, right ones and wrong ones alike, the accuracy
    changes by √k/n, one standard deviation: twice that much says nothing about the file.

    Args:
        outputs: What the file computes for the test images, [n, classes].
        source: The model, with test images.
        form: The file's format.
        name: The file's name, for the error.

    Raises:
        ExportError: If the accuracy falls by more than `allowed_fall`.
    """
    assert source.test is not None and source.test_logits is not None
    expected = source.test_logits
    changed = int(np.sum(outputs.argmax(axis=1) != expected.argmax(axis=1)))
    accuracy, wanted = source.test.accuracy(outputs), source.test.accuracy(expected)
    limit = allowed_fall(form.top1_points, changed, len(outputs))
    if 100 * (wanted - accuracy) > limit:
        raise ExportError(
            f"A file's accuracy may fall by {limit:.2f} points: {form.top1_points}, and what chance "
            f"explains where {changed} of {len(outputs)} images change class ({name}). Received: "
            f"{100 * accuracy:.2f} % instead of {100 * wanted:.2f} %. Nothing was written. Export to an "
            "exact format, or calibrate on more images."
        )
    return accuracy


def allowed_fall(points: float, changed: int, count: int) -> float:
    """Returns by how many percentage points a file's accuracy may fall: points + 100 · 2 · √k/n.

    Args:
        points: What the format costs.
        changed: k, the images that change class.
        count: n, the test images.
    """
    return points + 100 * 2 * math.sqrt(changed) / count
