"""The tf_keras twin of a Keras 3 model: what the exporters convert. It needs both Keras, and TensorFlow."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras as keras3
import numpy as np

from tfqkd.compat import keras, tf
from tfqkd.export.codes import find_planes
from tfqkd.export.twin_check import Pair, difference_of, require_same_outputs
from tfqkd.export.twin_layers import require_twin
from tfqkd.export.twin_settings import twin_layer
from tfqkd.export.verification import ExportError
from tfqkd.fronts.keras3.kernels import Kernel, kernels_of

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


def twin(model: Any) -> keras.Model:
    """Returns a tf_keras model that computes what a Keras 3 model does at inference, in float32.

    Args:
        model: A Functional or Sequential Keras 3 model without quantized layers, on TensorFlow.

    Returns:
        The twin. Its `quantized_layers` are the names of layers whose kernels have codes: files must hold
        these.

    Raises:
        ValueError: If a layer has no twin, a setting that its twin has not and that is not the default, or
            computes something else than its twin.
    """
    require_twin(model)
    pairs: list[Pair] = []
    copy = _model(model, pairs)
    for pair in pairs:
        weights = pair.layer.get_weights()
        pair.made.set_weights(weights)
        if isinstance(pair.layer, keras3.layers.Normalization) and weights:
            pair.made.finalize_state()  # Only now it computes with them.
        require_same_outputs(pair)
    copy.quantized_layers = frozenset(pair.path for pair in pairs if _has_codes(pair.layer))
    return copy


def require_same(model: Any, copy: keras.Model, examples: Sequence[np.ndarray]) -> None:
    """Raises if a twin does not compute what its Keras 3 model does.

    Args:
        model: The Keras 3 model, in float32.
        copy: Its twin.
        examples: What to compare them on: a batch for each input, in order.

    Raises:
        ExportError: If an output differs by more than one ten thousandth of its largest value.
    """
    # One that was loaded, and never called, has no input to ask for.
    is_sequential = isinstance(model, keras3.Sequential)
    both = []
    for each in (model, copy):
        given = (
            examples[0] if is_sequential else tf.nest.pack_sequence_as(each.input, list(examples))
        )
        both.append(tf.nest.flatten(each.predict(given, verbose=0)))
    for expected, found in zip(*both, strict=True):
        difference = difference_of(expected, found)
        if difference is not None:
            raise ExportError(
                "The tf_keras twin of a Keras 3 model must return what that returns. Received: outputs that "
                f"differ by up to {difference:.3g}. Nothing was written. Please report it with the model."
            )


def _has_codes(layer: Any) -> bool:
    """Whether all kernels of a layer hold few values a channel, as quantization leaves them."""
    kernels = [_rows(kernel) for kernel in kernels_of(layer)]
    # One weight a channel is a multiple of any.
    return bool(kernels) and all(
        rows.shape[1] > 1 and bool(find_planes(rows, axis=0)) for rows in kernels
    )


def _rows(kernel: Kernel) -> np.ndarray:
    value = keras3.ops.convert_to_numpy(kernel.variable)
    axes = kernel.channel_axes
    channels = int(np.prod([value.shape[axis] for axis in axes]))
    return np.moveaxis(value, axes, range(len(axes))).reshape(channels, -1)


def _model(model: Any, pairs: list[Pair], path: str = "") -> keras.Model:
    made: dict[int, Any] = {}

    def called(layer: Any, *args: Any, **kwargs: Any) -> Any:
        name = f"{path}{layer.name}"
        if isinstance(layer, keras3.Model):
            if id(layer) not in made:
                made[id(layer)] = _model(layer, pairs, f"{name}/")
        elif id(layer) not in made:
            made[id(layer)] = twin_layer(layer, name)
            pairs.append(Pair(name, layer, made[id(layer)], args, kwargs))
        return made[id(layer)](*args, **kwargs)

    if isinstance(model, keras3.Sequential):
        tensor = inputs = keras.Input(model.input_shape[1:], dtype=model.inputs[0].dtype)
        for layer in model.layers:
            tensor = called(layer, tensor)
        return keras.Model(inputs, tensor, name=model.name)
    return _functional(model, called)


def _functional(model: Any, called: Any) -> keras.Model:
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
            kwargs.pop("training", None)  # Inference asks all layers for training=False.
            given = {key: value for key, value in kwargs.items() if value is not None}
            outputs = called(operation, *args, **given)
        else:
            outputs = _computed(operation, f"{name}_{index}" if index else name, args)
        flat = outputs if isinstance(outputs, (list, tuple)) else [outputs]
        tensors.update({(name, index, position): tensor for position, tensor in enumerate(flat)})
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
    """A tensor's name, call and position, as the model's config counts the calls within the model."""
    history = tensor._keras_history
    references = _references(model.get_config()["output_layers"])
    name, index, position = next(
        reference
        for reference, output in zip(references, model.outputs, strict=True)
        if output is tensor
    )
    # Among outputs alone it counts the first node of a Functional model, which is no call.
    return name, index - hasattr(history.operation, "operations"), position


def _references(nested: Any) -> Iterator[list]:
    if isinstance(nested, dict):
        nested = list(nested.values())
    if len(nested) == 3 and isinstance(nested[0], str):
        yield list(nested)
    else:
        for each in nested:
            yield from _references(each)


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
