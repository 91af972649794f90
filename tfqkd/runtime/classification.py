"""Classes and their probabilities, or values, for image files."""

import pathlib

import numpy as np

from tfqkd.runtime.loaded_model import LoadedModel
from tfqkd.runtime.outputs import probabilities
from tfqkd.runtime.pictures import read_picture
from tfqkd.runtime.signature import INPUT

Ranking = list[tuple[str, float]]


def require_classifier(model: LoadedModel) -> None:
    """Raises ValueError if a model takes other things than images, or returns others than [N, classes]."""
    outputs = list(model.outputs.values())
    if list(model.inputs) != [INPUT] or len(outputs) != 1 or len(outputs[0]) != 2:
        raise ValueError(
            f"A model must take {INPUT} [N, H, W, C] and return [N, classes] only. Received: {model.path} "
            f"with {model.inputs} -> {model.outputs}. Run it from Python: tfqkd.export.load(path)(batch)."
        )


def classify(model: LoadedModel, path: pathlib.Path, top: int = 5) -> Ranking:
    """Returns the most likely classes of an image file with their probabilities, the likeliest first.

    Of a model that returns values, it returns all of them, in their order.

    Args:
        model: What `tfqkd.runtime.load` returned.
        path: A PNG or JPEG file.
        top: How many classes at most.

    Raises:
        UnreadablePictureError: If the file is no image.
        ValueError: If the model takes images of other than 1 or 3 channels, or is no classifier of images.
    """
    require_classifier(model)
    image = read_picture(path, model.input_shape, model.centre_crop)
    outputs = model(image[np.newaxis])
    names = model.class_names or tuple(map(str, range(outputs.shape[1])))
    found = probabilities(outputs, model.output)
    if found is None:
        return list(zip(names, map(float, outputs[0]), strict=True))
    (shares,) = found
    best = np.argsort(-shares, kind="stable")[:top]
    return [(names[index], float(shares[index])) for index in best]
