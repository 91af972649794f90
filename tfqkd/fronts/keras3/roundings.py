"""The fixed roundings of a stripped model, which quantizing it anew takes out."""

import keras

from tfqkd.core.rounded_layers import require_no_fixed_steps
from tfqkd.fronts.keras3.cloning import clone, copied, leaves
from tfqkd.fronts.keras3.layers import ActivationQuantization


def without_roundings(model: keras.Model, activation_bits: int | None) -> keras.Model:
    """Returns a copy of a stripped model with float activations; `model` itself if nothing rounds in it.

    Args:
        model: A Functional or built Sequential model.
        activation_bits: Of the scheme that it is to be quantized by; None for float.

    Raises:
        ValueError: As `core.rounded_layers.require_no_fixed_steps` does.
    """
    rounding = roundings(model)
    require_no_fixed_steps(list(rounding), activation_bits)
    left_out = {id(layer) for layer in rounding.values()}
    return clone(model, copied, left_out=left_out) if rounding else model


def roundings(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """Returns the layers that round activations by fixed steps, by their names in the model."""
    return {name: each for name, each in leaves(model) if isinstance(each, ActivationQuantization)}
