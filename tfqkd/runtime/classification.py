"""Classes and their probabilities for image files."""

import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from tfqkd.runtime.model import LoadedModel
from tfqkd.runtime.pictures import read_picture

Ranking = list[tuple[str, float]]


def classify(
    model: LoadedModel, paths: Sequence[pathlib.Path], top: int = 5
) -> Iterator[tuple[pathlib.Path, Ranking]]:
    """Yields each image file with its most likely classes, the likeliest first.

    Args:
        model: What `tfqkd.runtime.load` returned.
        paths: PNG or JPEG files.
        top: How many classes at most.

    Raises:
        ValueError: If a file is no image.
    """
    for path in paths:
        (logits,) = model(read_picture(path, model.input_shape)[np.newaxis])
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
        names = model.class_names or tuple(map(str, range(len(logits))))
        best = np.argsort(-shares, kind="stable")[:top]
        yield path, [(names[index], float(shares[index])) for index in best]
