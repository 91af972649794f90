"""Whole filters taken out of a model of tf_keras; see `tfqkd.fronts.filters`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfqkd.compat import keras, tf
from tfqkd.fronts import filters
from tfqkd.fronts.filters import Chain
from tfqkd.fronts.tfmot.cloning import clone, copied


def chains(model: keras.Model) -> list[Chain]:
    """Returns the convolutions whose filters can be taken out, in the model's order."""
    return filters.chains(model, _readers(model), keras)


def without_filters(model: keras.Model, share: float, norm: str = "l2") -> keras.Model:
    """Returns a copy without the weakest filters, as `tfqkd.fronts.filters.narrowed` says.

    Args:
        model: A float Functional or built Sequential model.
        share: Of the filters, in [0, 1).
        norm: Of a filter's weights: "l1" or "l2".

    Raises:
        ValueError: If the share is out of range, or no convolution has filters that can go.
    """

    def copy(sizes: Mapping[str, int]) -> keras.Model:
        def change(layer: keras.layers.Layer) -> keras.layers.Layer:
            size = sizes.get(layer.name)
            return copied(layer) if size is None else copied(layer, filters=size)

        return clone(model, change)

    return filters.narrowed(model, share, norm, chains(model), copy)


def dropped(chain: Chain, share: float, norm: str = "l2") -> np.ndarray:
    """Returns the numbers of the filters that `without_filters` takes out of a chain."""
    return np.setdiff1d(np.arange(chain.first.filters), filters.kept_of(chain, share, norm))


def _readers(model: keras.Model) -> dict[str, list[Any]]:
    own = set(map(id, model.layers))
    found: dict[str, list[Any]] = {layer.name: [] for layer in model.layers}
    for layer in model.layers:
        for node in layer.inbound_nodes:
            for before in tf.nest.flatten(node.inbound_layers):
                if id(before) in own:
                    found[before.name].append(layer)
    for tensor in model.outputs:
        found[tensor._keras_history.layer.name].append(None)
    return found
