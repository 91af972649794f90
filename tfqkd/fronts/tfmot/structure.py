"""The names and the form of what a model takes and returns."""

from collections.abc import Sequence
from typing import Any

from tfqkd.compat import keras


def input_names(model: keras.Model) -> list[str]:
    """Returns what the user calls the inputs of a Functional or Sequential model, as in `model.inputs`."""
    return _names(model._nested_inputs, model.input_names)


def output_names(model: keras.Model) -> list[str]:
    """Returns what the user calls the outputs of such a model, as `model.outputs` lists them."""
    return _names(model._nested_outputs, model.output_names)


def _names(structure: Any, layers: Sequence[str]) -> list[str]:
    # The keys of a dict, as `tf.nest.flatten` puts them; else Keras' names, those of layers.
    return sorted(structure) if isinstance(structure, dict) else list(layers)
