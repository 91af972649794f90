"""Puts layers behind other layers of a model."""

from collections.abc import Callable, Mapping
from typing import Any

from tfqkd.compat import keras
from tfqkd.fronts.tfmot.cloning import copied, functions_kept, keep_settings


def insert_behind(model: keras.Model, layers: Mapping[str, keras.layers.Layer]) -> keras.Model:
    """Returns a copy of `model` in which every reader of a layer reads it through another one.

    Args:
        model: A Functional or built Sequential model.
        layers: What to put behind a layer, by that layer's name.

    Returns:
        A new model with the weights of `model`. What the layers put out stays the same elsewhere: the
        outputs of the model go through the new layers too.
    """
    if isinstance(model, keras.Sequential):
        copy = _sequential(model, layers)
    else:
        classes = {type(layer).__name__: type(layer) for layer in model.layers}
        with functions_kept(model.layers):
            config = _functional_config(model.get_config(), layers)
            copy = keras.Model.from_config(config, custom_objects=classes)
    keep_settings(model, copy)
    # A dict of losses or metrics finds the outputs by them.
    copy.output_names = list(model.output_names)
    for layer in model.layers:
        copy.get_layer(layer.name).set_weights(layer.get_weights())
    return copy


def _sequential(
    model: keras.Sequential, layers: Mapping[str, keras.layers.Layer]
) -> keras.Sequential:
    copies: list[keras.layers.Layer] = []
    for layer in model.layers:
        copies.append(copied(layer))
        copies += [layers[layer.name]] if layer.name in layers else []
    inputs = keras.Input(batch_shape=model.input_shape, dtype=model.inputs[0].dtype)
    return keras.Sequential([inputs, *copies], name=model.name)


def _functional_config(
    config: dict[str, Any], layers: Mapping[str, keras.layers.Layer]
) -> dict[str, Any]:
    """The config with an entry for every new layer, called once for each call of the layer before it."""

    def redirect(reference: list) -> list:
        name, *rest = reference
        return [layers[name].name, *rest] if name in layers else reference

    entries = []
    for entry in config["layers"]:
        # Without `build_config`: a layer that is built before it is called is not named in its weights.
        kept = {key: value for key, value in entry.items() if key != "build_config"}
        entries.append({**kept, "inbound_nodes": mapped(entry["inbound_nodes"], redirect)})
        if entry["name"] in layers:
            layer = layers[entry["name"]]
            calls = range(len(entry["inbound_nodes"]))
            entries.append(
                {
                    **keras.utils.legacy.serialize_keras_object(layer),
                    "name": layer.name,
                    "inbound_nodes": [[[entry["name"], call, 0, {}]] for call in calls],
                }
            )
    outputs = mapped(config["output_layers"], redirect)
    return {**config, "layers": entries, "output_layers": outputs}


def mapped(nested: Any, change: Callable[[list], list]) -> Any:
    """Returns nested lists and dicts of a config with every [layer name, call, tensor, ...] changed."""
    if isinstance(nested, dict):
        return {key: mapped(value, change) for key, value in nested.items()}
    if not isinstance(nested, (list, tuple)):
        return nested
    if len(nested) >= 3 and isinstance(nested[0], str) and isinstance(nested[1], int):
        return [mapped(item, change) for item in change(list(nested))]
    return [mapped(item, change) for item in nested]
