"""Copies of layers and models that keep what Keras' own copies lose: functions, and what is frozen."""

import contextlib
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tfqkd.compat import keras, tfmot

_FUNCTIONS = re.compile(".*(activation|initializer|regularizer|constraint)")
"""The attributes in which Keras' layers hold functions of the user."""


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
    keep_frozen(model, twin)
    return twin


def copied(layer: keras.layers.Layer, **changes: Any) -> keras.layers.Layer:
    """Returns a layer of the same settings, which is not built.

    Args:
        layer: Any layer with a config.
        **changes: Entries of the config to put in the place of the layer's own.
    """
    with functions_kept([layer]):
        return type(layer).from_config({**layer.get_config(), **changes})


def keep_frozen(model: keras.Model, twin: keras.Model) -> None:
    """Freezes in a copy what is frozen in a model, down to layers within layers.

    Args:
        model: A Functional or Sequential model.
        twin: A copy of it; its layers, or those that they wrap, have the same names. It may have
            others too.
    """
    # All flags first: the two may share layers, and that of a model sets those of its layers.
    flags = {
        layer.name: [part.trainable for part in _parts(layer)]
        for layer in map(plain_layer, model.layers)
    }
    twin.trainable = model.trainable
    for layer in map(plain_layer, twin.layers):
        for part, trainable in zip(_parts(layer), flags.get(layer.name, []), strict=False):
            part.trainable = trainable


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

    class FunctionOfTheUser:
        """Stands for a function while its layer is asked for a config."""

        def __init__(self, index: int) -> None:
            self.index = index

        def get_config(self) -> dict[str, int]:
            return {"index": self.index}

        @classmethod
        def from_config(cls, config: dict[str, int]) -> Callable:
            return functions[config["index"]]

    held = [
        (part, name, value)
        for layer in layers
        for part in _parts(layer)
        for name, value in vars(part).items()
        if _FUNCTIONS.fullmatch(name) and _is_function(value)
    ]
    functions = [value for _, _, value in held]
    for index, (part, name, _) in enumerate(held):
        # Past Keras' own __setattr__, which would track it.
        vars(part)[name] = FunctionOfTheUser(index)
    scope = keras.utils.custom_object_scope({FunctionOfTheUser.__name__: FunctionOfTheUser})
    try:
        with warnings.catch_warnings(), scope:
            warnings.filterwarnings("ignore", ".*should only be used for objects of type")
            yield
    finally:
        for part, name, value in held:
            vars(part)[name] = value


def _is_function(value: object) -> bool:
    without_config = callable(value) and not hasattr(value, "get_config")
    return without_config or isinstance(value, keras.layers.Lambda)


def _parts(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layer and those within it, outer ones first."""
    return [layer, *(part for part in layer.submodules if isinstance(part, keras.layers.Layer))]
