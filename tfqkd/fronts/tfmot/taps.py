"""Taps: a network that also returns the outputs of some of its layers, from the same variables."""

from collections.abc import Sequence
from typing import Any

from tfqkd.compat import keras
from tfqkd.fronts.terms import Layer
from tfqkd.fronts.tfmot.cloning import clone, plain_layer


def layers_of(model: Any) -> tuple[Layer, ...]:
    """Returns the layers of a Functional or Sequential model with one output each; else none."""
    if not (isinstance(model, keras.Model) and getattr(model, "inputs", None)):
        return ()
    found = []
    for layer in model.layers:
        shape = _output(layer).shape if layer.inbound_nodes else None
        if shape is not None and shape.rank:
            plain = plain_layer(layer)
            found.append(Layer(plain.name, type(plain).__name__, tuple(shape[1:])))
    return tuple(found)


def tapped(model: Any, names: Sequence[str], role: str) -> keras.Model:
    """Returns a model `inputs → [taps…, outputs]` of the same layers.

    Args:
        model: A Functional or Sequential tf_keras model.
        names: Of its layers, wrapped or not.
        role: What an error calls it.

    Raises:
        ValueError: If it shows no layers, or has none of a name.
    """
    shown = layers_of(model)
    if not shown:
        raise ValueError(
            f"To read layers of the {role}, it must be a Functional or Sequential tf_keras model. "
            f"Received: {type(model).__name__}. Give such a model, or take a method that reads logits alone."
        )
    by_name = {plain_layer(layer).name: layer for layer in model.layers}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise ValueError(
            f"Taps of the {role} must be names of its layers. Received: {', '.join(unknown)}. "
            f"It has {', '.join(layer.name for layer in shown)}."
        )
    outputs = [*(_output(by_name[name]) for name in names), *model.outputs]
    return keras.Model(model.inputs, outputs, name=f"{model.name}_tapped")


def between(model: keras.Model, lower: str, upper: str) -> keras.Model:
    """Returns the part of a copy of a model from one layer's output to another's.

    Of the model's own layers Keras would make new nodes, and those of the model would be lost among them.

    Args:
        model: A Functional or Sequential tf_keras model.
        lower: Name of the layer whose output it takes.
        upper: Name of the layer whose output it returns, and that reads nothing but what is behind `lower`.

    Raises:
        ValueError: If there are no such layers, or the upper one reads something else too.
    """
    copy = clone(model)
    copy.set_weights(model.get_weights())
    by_name = {layer.name: layer for layer in copy.layers}
    if not {lower, upper} <= set(by_name):
        raise ValueError(
            f"A part of a network must be between two of its layers. Received: {lower} and {upper}. It has "
            f"{', '.join(by_name)}."
        )
    ends = [_output(by_name[name]) for name in (lower, upper)]
    try:
        return keras.Model(*ends, name=f"{model.name}_part")
    except ValueError as error:
        raise ValueError(
            f"A part of a network must depend on one layer alone. Received: {upper}, which reads more than "
            f"the output of {lower}. Name other layers."
        ) from error


def _output(layer: keras.layers.Layer) -> Any:
    # An earlier node is of a graph from before the layers were wrapped.
    output = layer.get_output_at(-1)
    return output[0] if isinstance(output, (list, tuple)) else output
