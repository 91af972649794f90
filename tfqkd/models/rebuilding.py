"""A network of Keras 3 from the file of one that tf_keras has trained; needs no TensorFlow."""

import json
import pathlib
import zipfile
from collections import Counter
from types import ModuleType
from typing import Any

import h5py
import numpy as np

from tfqkd.models.zoo import build

_STORED = {"Conv2D": "conv2d", "BatchNormalization": "batch_normalization", "Dense": "dense"}
"""What a `.keras` file calls the weights of a layer, by its class; a number follows from the second on."""


def rebuilt(file: pathlib.Path, network: str, keras: ModuleType) -> Any:
    """Builds a network again, with the weights of a file.

    Args:
        file: A `.keras` file of the same network, as tf_keras saves it.
        network: Its name, as for `build`.
        keras: Keras 3.

    Raises:
        ValueError: If the file is of another network.
    """
    with zipfile.ZipFile(file) as archive:
        layers = json.loads(archive.read("config.json"))["config"]["layers"]
        by_class = {entry["class_name"]: entry["config"] for entry in layers}
        standardization = by_class["Normalization"]
        model = build(
            network,
            tuple(by_class["InputLayer"]["batch_input_shape"][1:]),
            by_class["Dense"]["units"],
            mean=standardization["mean"],
            std=np.sqrt(standardization["variance"]).tolist(),
            keras=keras,
        )
        with archive.open("model.weights.h5") as stored, h5py.File(stored, "r") as weights:
            _assign(model, layers, weights["layers"])
    return model


def _assign(model: Any, layers: list[dict[str, Any]], weights: h5py.Group) -> None:
    seen: Counter[str] = Counter()
    for entry in layers:
        kind = _STORED.get(entry["class_name"])
        if kind is None:
            continue
        group = weights[f"{kind}_{seen[kind]}" if seen[kind] else kind]["vars"]
        seen[kind] += 1
        variables = model.get_layer(entry["config"]["name"]).variables
        values = [group[str(index)][()] for index in range(len(group))]
        found, wanted = [v.shape for v in values], [tuple(v.shape) for v in variables]
        if found != wanted:
            raise ValueError(
                f"A file must hold the weights of the network that is built. Received: {found} for the layer "
                f"{entry['config']['name']}, which has {wanted}. Name the network of the file."
            )
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
