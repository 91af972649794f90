"""Copies of layers and models that keep what Keras' own copies lose: functions, and what is frozen."""

import contextlib
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tfqkd.compat import keras, tfmot

_FUNCTIONS = re.compile(".*(activation|initializer|regularizer|constraint)")
_LAMBDA_FUNCTIONS = re.compile("function|mask|_output_shape")
"""The attributes in which Keras' layers, and its Lambda, hold functions of the user."""


def clone(
    model: keras.Model,
    change: Callable[[keras.layers.Layer], keras.layers.Layer] | None = None,
) -> keras.Model:
    """Returns a copy of a model: other layers with first weights of their own, the same layers frozen.

    Args:
        model: A Functional or built Sequential model.
        change: Called with each layer; returns the one in its place, under the same name or that of a tfmot
            wrapper. By default a copy.
    """
    inputs = None
    if isinstance(model, keras.Sequential) and not model._has_explicit_input_shape:
        # Keras leaves out the input that a Sequential model took from its first batch.
        (tensor,) = model.inputs
        inputs = keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=model.input_names[0])
    twin = keras.models.clone_model(model, inputs, change or copied)
    keep_settings(model, twin)
    return twin


def copied(layer: keras.layers.Layer, **changes: Any) -> keras.layers.Layer:
    """Returns a layer of the same settings, which is not built.

    Args:
        layer: Any layer with a config.
        **changes: Entries of the config to put in the place of the layer's own.
    """
    with functions_kept([layer]):
        return type(layer).from_config({**layer.get_config(), **changes})


def keep_settings(model: keras.Model, twin: keras.Model) -> None:
    """Freezes in a copy what is frozen in a model, and regularizes the outputs that are regularized there.

    Configs leave out the flags of layers within layers, and the output regularizers of some layers.

    Args:
        model: A Functional or Sequential model.
        twin: A copy of it; its layers, or those that they wrap, have the same names. It may have
            others too.
    """
    # All settings first: the two may share layers, and the flag of a model sets those of its layers.
    settings = {layer.name: _settings(layer) for layer in map(plain_layer, model.layers)}
    twin.trainable = model.trainable
    for layer in map(plain_layer, twin.layers):
        _set(layer, settings.get(layer.name, []))


def keep_parts(layer: keras.layers.Layer, copy: keras.layers.Layer) -> None:
    """Does as `keep_settings`, for one layer and those within it."""
    _set(copy, _settings(layer))


def _settings(layer: keras.layers.Layer) -> list[tuple[bool, Any]]:
    return [(part.trainable, part.activity_regularizer) for part in _parts(layer)]


def _set(layer: keras.layers.Layer, settings: list[tuple[bool, Any]]) -> None:
    for part, (trainable, regularizer) in zip(_parts(layer), settings, strict=False):
        part.trainable = trainable
        # A wrapper shows the one of its layer.
        shows = isinstance(part, keras.layers.Wrapper)
        if regularizer and part.activity_regularizer is None and not shows:
            part.activity_regularizer = regularizer


def plain_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Returns the layer that a tfmot wrapper holds; any other layer as it is."""
    return layer.layer if isinstance(layer, tfmot.quantization.keras.QuantizeWrapper) else layer


@contextlib.contextmanager
def functions_kept(layers: Iterable[keras.layers.Layer]) -> Iterator[None]:
    """Within it, layers go through their configs and back with the functions that they hold.

    Keras writes a function by its name, and a lambda as marshalled code, and finds neither again.

    Args:
        layers: The layers whose configs are asked for.
    """
    held = _held_functions(layers)
    functions = {f"function_{index}": value for index, (_, _, value) in enumerate(held)}
    for (part, attribute, value), name in zip(held, functions, strict=True):
        # Past Keras' own __setattr__, which would track it.
        vars(part)[attribute] = _StandIn(name, value)
    scope = keras.utils.custom_object_scope({_StandIn.__name__: _StandIn, **functions})
    try:
        with warnings.catch_warnings(), scope:
            warnings.filterwarnings("ignore", ".*should only be used for objects of type")
            yield
    finally:
        for part, attribute, value in held:
            vars(part)[attribute] = value


class _StandIn:
    """Stands for a function while its layer is asked for a config; Lambda layers ask for its name."""

    def __init__(self, name: str, function: Callable) -> None:
        self.__name__ = name
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # A layer of the user may give it to its copy without a config.
        return self._function(*args, **kwargs)

    def get_config(self) -> dict[str, str]:
        return {"name": self.__name__}

    @classmethod
    def from_config(cls, config: dict[str, str]) -> Any:
        return keras.utils.get_registered_object(config["name"])


def _held_functions(
    layers: Iterable[keras.layers.Layer],
) -> list[tuple[keras.layers.Layer, str, Any]]:
    """Returns each function with the layer and the attribute that hold it."""
    parts = [part for layer in layers for part in _parts(layer)]
    held = [
        (part, attribute, value)
        for part in parts
        for attribute, value in vars(part).items()
        if _is_function(value)
        and (_LAMBDA_FUNCTIONS if isinstance(part, keras.layers.Lambda) else _FUNCTIONS).fullmatch(
            attribute
        )
    ]
    # A Lambda layer that another one holds comes through as it is.
    whole = {id(value) for _, _, value in held}
    return [each for each in held if id(each[0]) not in whole]


def _is_function(value: object) -> bool:
    without_config = callable(value) and not hasattr(value, "get_config")
    return without_config or isinstance(value, (keras.layers.Lambda, _StandIn))


def _parts(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layer and those within it, outer ones first."""
    return [layer, *(part for part in layer.submodules if isinstance(part, keras.layers.Layer))]
