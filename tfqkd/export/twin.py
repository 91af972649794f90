"""The tf_keras twin of a Keras 3 model: what the exporters convert. It needs both Keras, and TensorFlow."""

import inspect
from collections.abc import Iterator
from typing import Any

import keras as keras3
import numpy as np

from tfqkd.compat import keras
from tfqkd.export.twin_layers import require_twin
from tfqkd.export.verification import ExportError
from tfqkd.fronts.tfmot.layers import ActivationQuantization

_RENAMED = {"LeakyReLU": {"negative_slope": "alpha"}}
_BY_NUMBER = {
    "Add": lambda number: (1.0, number),
    "Subtract": lambda number: (1.0, -number),
    "Multiply": lambda number: (number, 0.0),
    "Divide": lambda number: (1 / number, 0.0),
    "TrueDivide": lambda number: (1 / number, 0.0),
}
"""Scale and offset of an operation of a tensor and a number behind it."""

_OF_NUMBER = {
    "Add": lambda number: (1.0, number),
    "Subtract": lambda number: (-1.0, number),
    "Multiply": lambda number: (number, 0.0),
}
"""Scale and offset of an operation of a number and a tensor behind it."""

_LEFT_OUT = ("name", "dtype", "trainable", "backward_layer")
"""Settings that a twin gets otherwise: a Bidirectional makes its second layer of the first."""

_ENDINGS = ("_initializer", "_regularizer", "_constraint", "activity_regularizer")
"""Of settings that matter in training alone."""


def twin(model: Any) -> keras.Model:
    """Returns a tf_keras model that computes what a Keras 3 model does at inference, in float32.

    Args:
        model: A Functional or Sequential Keras 3 model without quantized layers, on TensorFlow.

    Raises:
        ValueError: If a layer has no twin, or a setting that its twin has not and that is not the default.
    """
    require_twin(model)
    pairs: list[tuple[Any, keras.layers.Layer]] = []
    copy = _model(model, pairs)
    for layer, made in pairs:
        weights = layer.get_weights()
        made.set_weights(weights)
        if isinstance(layer, keras3.layers.Normalization) and weights:
            made.finalize_state()  # Only now it computes with them.
    return copy


def require_same(model: Any, copy: keras.Model, images: np.ndarray) -> None:
    """Raises if a twin does not compute what its Keras 3 model does.

    Args:
        model: The Keras 3 model, in float32.
        copy: Its twin.
        images: What to compare them on.

    Raises:
        ExportError: If outputs differ by more than one ten thousandth of the largest.
    """
    expected = model.predict(images, verbose=0)
    found = copy.predict(images, verbose=0)
    difference = float(np.abs(expected - found).max())
    allowed = 1e-4 * max(1.0, float(np.abs(expected).max()))
    if not difference <= allowed:
        raise ExportError(
            "The tf_keras twin of a Keras 3 model must return what that returns. Received: outputs that "
            f"differ by up to {difference:.3g}. Nothing was written. Please report it with the model."
        )


def _model(model: Any, pairs: list[tuple[Any, keras.layers.Layer]]) -> keras.Model:
    made: dict[int, Any] = {}

    def layer_of(layer: Any) -> Any:
        if id(layer) not in made:
            if isinstance(layer, keras3.Model):
                made[id(layer)] = _model(layer, pairs)
            else:
                made[id(layer)] = _layer(layer)
                pairs.append((layer, made[id(layer)]))
        return made[id(layer)]

    if isinstance(model, keras3.Sequential):
        tensor = inputs = keras.Input(model.input_shape[1:], dtype=model.inputs[0].dtype)
        for layer in model.layers:
            tensor = layer_of(layer)(tensor)
        return keras.Model(inputs, tensor, name=model.name)
    return _functional(model, layer_of)


def _functional(model: Any, layer_of: Any) -> keras.Model:
    tensors: dict[tuple, Any] = {}
    inputs = []
    for tensor in model.inputs:
        source = tensor._keras_history.operation
        inputs.append(keras.Input(tensor.shape[1:], name=source.name, dtype=tensor.dtype))
        tensors[source.name, 0, 0] = inputs[-1]
    operations = {operation.name: operation for operation in model.operations}
    for name, index, node in _nodes(model.get_config(), tensors):
        args, kwargs = (_filled(node[part], tensors) for part in ("args", "kwargs"))
        operation = operations[name]
        if isinstance(operation, keras3.layers.Layer):
            kwargs.pop("training", None)
            outputs = layer_of(operation)(
                *args, **{k: v for k, v in kwargs.items() if v is not None}
            )
        else:
            outputs = _computed(operation, f"{name}_{index}" if index else name, args)
        flat = outputs if isinstance(outputs, (list, tuple)) else [outputs]
        tensors.update({(name, index, place): tensor for place, tensor in enumerate(flat)})
    outputs = [tensors[_history(tensor, model)] for tensor in model.outputs]
    return keras.Model(inputs, outputs if len(outputs) > 1 else outputs[0], name=model.name)


def _nodes(config: dict[str, Any], tensors: dict[tuple, Any]) -> Iterator[tuple[str, int, Any]]:
    """Yields the calls of layers, each when its inputs are among the tensors that were made."""
    waiting = [
        (entry["name"], index, node)
        for entry in config["layers"]
        for index, node in enumerate(entry["inbound_nodes"])
    ]
    while waiting:
        later = []
        for name, index, node in waiting:
            if all(key in tensors for key in _keys([node["args"], node["kwargs"]])):
                yield name, index, node
            else:
                later.append((name, index, node))
        if len(later) == len(waiting):
            raise ValueError(
                "The layers of the model must be connected to its inputs. "
                f"Received: {', '.join(name for name, _, _ in later)}, which are not. Rebuild the model."
            )
        waiting = later


def _history(tensor: Any, model: Any) -> tuple[str, int, int]:
    """A tensor's name, call and place, as the model's config counts the calls within the model."""
    history = tensor._keras_history
    places = [tuple(place) for place in _flat_places(model.get_config()["output_layers"])]
    return next(
        place
        for place, output in zip(places, model.outputs, strict=True)
        if output is tensor and place[0] == history.operation.name
    )


def _flat_places(nested: Any) -> Iterator[list]:
    if isinstance(nested, dict):
        nested = list(nested.values())
    if len(nested) == 3 and isinstance(nested[0], str):
        yield list(nested)
    else:
        for each in nested:
            yield from _flat_places(each)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, dict) and value.get("class_name") == "__keras_tensor__"


def _keys(nested: Any) -> Iterator[tuple]:
    if _is_tensor(nested):
        yield tuple(nested["config"]["keras_history"])
    elif isinstance(nested, dict):
        for value in nested.values():
            yield from _keys(value)
    elif isinstance(nested, (list, tuple)):
        for value in nested:
            yield from _keys(value)


def _filled(nested: Any, tensors: dict[tuple, Any]) -> Any:
    """The arguments of a call, with the twin's tensors."""
    if _is_tensor(nested):
        return tensors[tuple(nested["config"]["keras_history"])]
    if isinstance(nested, dict):
        return {key: _filled(value, tensors) for key, value in nested.items()}
    if isinstance(nested, (list, tuple)):
        return [_filled(value, tensors) for value in nested]
    return nested


def _layer(layer: Any) -> keras.layers.Layer:
    name = type(layer).__name__
    config = layer.get_config()
    kept: dict[str, Any] = {"name": layer.name}
    if name == "ActivationQuantization":
        return ActivationQuantization(layer.step, layer.lower, layer.upper, **kept)
    cls = getattr(keras.layers, name)
    for key, value in config.items():
        if key in _LEFT_OUT or key.endswith(_ENDINGS):
            continue
        renamed = _RENAMED.get(name, {}).get(key, key)
        if renamed in _parameters(cls):
            kept[renamed] = value
        elif not _is_default(layer, key, value):
            raise ValueError(
                "A layer must have settings alone that its tf_keras twin has too. "
                f"Received: {name} '{layer.name}' with {key}={value!r}. Leave it at its default."
            )
    if "layer" in kept:  # Of a Bidirectional, say.
        kept["layer"] = _layer(getattr(layer, "forward_layer", None) or layer.layer)
    try:
        return cls(**kept)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"A layer must be one that tf_keras has too. Received: {name} '{layer.name}', at which it "
            f"raised: {str(error).splitlines()[0]}. Take another setting."
        ) from error


def _parameters(cls: type) -> set[str]:
    """What the constructors of a class and of those before it take."""
    return {
        name
        for each in cls.__mro__
        if "__init__" in vars(each) and each is not object
        for name in inspect.signature(each.__init__).parameters  # type: ignore[misc]
    }


def _is_default(layer: Any, key: str, value: Any) -> bool:
    if key == "data_format":
        return bool(value == "channels_last")
    parameter = inspect.signature(type(layer).__init__).parameters.get(key)
    return value in (None, False) if parameter is None else bool(parameter.default == value)


def _computed(operation: Any, name: str, args: list[Any]) -> Any:
    """What an operation such as `x * 2` gives: a layer of tf_keras in its place."""
    kind = type(operation).__name__
    first, second = args
    numbers = [isinstance(each, (int, float)) for each in args]
    if numbers == [False, False] and kind in ("Add", "Subtract", "Multiply"):
        return getattr(keras.layers, kind)(name=name)([first, second])
    if numbers == [False, True] and kind in _BY_NUMBER:
        return keras.layers.Rescaling(*_BY_NUMBER[kind](second), name=name)(first)
    if numbers == [True, False] and kind in _OF_NUMBER:
        return keras.layers.Rescaling(*_OF_NUMBER[kind](first), name=name)(second)
    raise ValueError(
        "An operation must be +, - or * of tensors and numbers, or / by a number, to be exported. Received: "
        f"{kind} '{operation.name}'. Use a layer instead."
    )
