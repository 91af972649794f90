"""Taps: a network that also returns the outputs of some of its layers, from the same variables."""

from collections.abc import Sequence
from typing import Any

import keras

from tfqkd.fronts import step_terms
from tfqkd.fronts.keras3.cloning import is_graph, shown
from tfqkd.fronts.keras3.ops import OPS
from tfqkd.fronts.keras3.wrapper import plain_layer
from tfqkd.fronts.terms import Layer


class Tapped(step_terms.Tapped):
    """A network of Keras 3 whose call also gives the outputs of some of its layers."""

    ops = OPS

    def _tapped(self, network: Any, role: str) -> keras.Model:
        return _tapped(network, self.names, role)


def layers_of(model: Any) -> tuple[Layer, ...]:
    """Returns the layers of a Functional or Sequential model with one output each; else none."""
    if not is_graph(model):
        return ()
    _, outputs = shown(model)
    kinds = {layer.name: type(plain_layer(layer)).__name__ for layer in model.layers}
    return tuple(
        Layer(name, kinds[name], tuple(found.shape[1:]))
        for name, found in outputs.items()
        if isinstance(found, keras.KerasTensor) and len(found.shape)
    )


def between(model: keras.Model, lower: str, upper: str) -> keras.Model:
    """Returns the part of a model from one layer's output to another's: the same layers.

    Args:
        model: A Functional or Sequential Keras 3 model.
        lower: Name of the layer whose output it takes.
        upper: Name of the layer whose output it returns, and that reads nothing but what is behind `lower`.

    Raises:
        ValueError: If there are no such layers, or the upper one reads something else too.
    """
    _, outputs = shown(model)
    if not {lower, upper} <= set(outputs):
        raise ValueError(
            f"A part of a network must be between two of its layers. Received: {lower} and {upper}. It has "
            f"{', '.join(outputs)}."
        )
    try:
        return keras.Model(outputs[lower], outputs[upper], name=f"{model.name}_part")
    except ValueError as error:
        raise ValueError(
            f"A part of a network must depend on one layer alone. Received: {upper}, which reads more than "
            f"the output of {lower}. Name other layers."
        ) from error


def _tapped(model: Any, names: Sequence[str], role: str) -> keras.Model:
    if not is_graph(model):
        raise ValueError(
            f"To read layers of the {role}, it must be a Functional or Sequential Keras 3 model. "
            f"Received: {type(model).__name__}. Give such a model, or take a method that reads logits alone."
        )
    same, outputs = shown(model)
    unknown = [name for name in names if name not in outputs]
    if unknown:
        raise ValueError(
            f"Taps of the {role} must be names of its layers. Received: {', '.join(unknown)}. "
            f"It has {', '.join(outputs)}."
        )
    taps = [keras.tree.flatten(outputs[name])[0] for name in names]
    return keras.Model(same.input, [*taps, *same.outputs], name=f"{model.name}_tapped")
