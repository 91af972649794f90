"""Whole filters taken out of a model of Keras 3; see `tfqkd.fronts.filters`."""

from collections.abc import Mapping
from typing import Any

import keras

from tfqkd.fronts import filters
from tfqkd.fronts.keras3.cloning import clone, is_graph, traced


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
            sized = {"filters": sizes[layer.name]} if layer.name in sizes else {}
            # Not built: the layers before it say what it reads.
            return type(layer).from_config({**layer.get_config(), **sized})

        return clone(model, change)

    found = filters.chains(model, _readers(model), keras) if is_graph(model) else []
    return filters.narrowed(model, share, norm, found, copy)


def _readers(model: keras.Model) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    # With the tensors, which would else make way for others of the same id.
    made: dict[int, tuple[str, Any]] = {}

    def read(given: Any, reader: Any) -> None:
        for tensor in keras.tree.flatten(given):
            if id(tensor) in made:
                found[made[id(tensor)][0]].append(reader)

    def called(operation: Any, *args: Any, **kwargs: Any) -> Any:
        read((args, kwargs), operation)
        outputs = operation(*args, **kwargs)
        found.setdefault(operation.name, [])
        made.update({id(each): (operation.name, each) for each in keras.tree.flatten(outputs)})
        return outputs

    read(traced(model, called).outputs, None)
    return found
