"""Classes and their probabilities, or values, for image files."""

import pathlib

import numpy as np

from tfqkd.runtime.model import LoadedModel
from tfqkd.runtime.outputs import probabilities
from tfqkd.runtime.pictures import read_picture

Ranking = list[tuple[str, float]]


def classify(model: LoadedModel, path: pathlib.Path, top: int = 5) -> Ranking:
    """Returns the most likely classes of an image file with their probabilities, the likeliest first.

    Of a model that returns values, it returns all of them, in their order.

    Args:
        model: What `tfqkd.runtime.load` returned.
        path: A PNG or JPEG file.
        top: How many classes at most.

    Raises:
        UnreadablePictureError: If the file is no image.
        ValueError: If the model takes images of other than 1 or 3 channels.
    """
    outputs = model(read_picture(path, model.input_shape)[np.newaxis])
    names = model.class_names or tuple(map(str, range(outputs.shape[1])))
    found = probabilities(outputs, model.output)
    if found is None:
        return list(zip(names, map(float, outputs[0]), strict=True))
    (shares,) = found
    best = np.argsort(-shares, kind="stable")[:top]
    return [(names[index], float(shares[index])) for index in best]
