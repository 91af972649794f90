"""The fixed roundings of a stripped model, which quantizing it anew takes out."""

from typing import Any

from tfqkd.compat import keras
from tfqkd.core.rounded_layers import require_no_fixed_steps
from tfqkd.fronts.tfmot.cloning import clone, functions_kept, keep_settings
from tfqkd.fronts.tfmot.insertion import mapped
from tfqkd.fronts.tfmot.layers import ActivationQuantization


def without_roundings(model: keras.Model, activation_bits: int | None) -> keras.Model:
    """Returns a copy of a stripped model with float activations; `model` itself if nothing rounds in it.

    Args:
        model: A Functional or built Sequential model without models in it.
        activation_bits: Of the scheme that it is to be quantized by; None for float.

    Raises:
        ValueError: As `core.rounded_layers.require_no_fixed_steps` does.
    """
    rounding = roundings(model)
    if not rounding:
        return model
    require_no_fixed_steps(rounding, activation_bits)
    if isinstance(model, keras.Sequential):
        twin = clone(model)
        kept = [layer for layer in twin.layers if layer.name not in rounding]
        inputs = keras.Input(batch_shape=model.input_shape, dtype=model.inputs[0].dtype)
        copy = keras.Sequential([inputs, *kept], name=model.name)
    else:
        classes = {type(layer).__name__: type(layer) for layer in model.layers}
        with functions_kept(model.layers):
            config = _without(model.get_config(), set(rounding))
            copy = keras.Model.from_config(config, custom_objects=classes)
    keep_settings(model, copy)
    # A dict of losses or metrics finds the outputs by them.
    copy.output_names = list(model.output_names)
    for layer in copy.layers:
        layer.set_weights(model.get_layer(layer.name).get_weights())
    return copy


def roundings(model: keras.Model) -> list[str]:
    """Returns the names of the layers that round activations by fixed steps."""
    layers = model._flatten_layers(include_self=False)
    return [layer.name for layer in layers if isinstance(layer, ActivationQuantization)]


def _without(config: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """The config of a Functional model without some layers of one input: readers read what these read."""
    read = {entry["name"]: entry["inbound_nodes"] for entry in config["layers"]}

    def before(reference: list) -> list:
        name, call, _, *arguments = reference
        return before([*read[name][call][0][:3], *arguments]) if name in names else reference

    layers = [
        # Without `build_config`: a layer that is built before it is called is not named in its weights.
        {
            **{key: value for key, value in entry.items() if key != "build_config"},
            "inbound_nodes": mapped(entry["inbound_nodes"], before),
        }
        for entry in config["layers"]
        if entry["name"] not in names
    ]
    return {**config, "layers": layers, "output_layers": mapped(config["output_layers"], before)}
