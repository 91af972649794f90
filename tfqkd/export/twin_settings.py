"""Layers of tf_keras with the settings of Keras 3 layers; a setting that would be dropped is an error."""

import inspect
import math
from typing import Any

from tfqkd.compat import keras
from tfqkd.export.twin_attention import GroupedQueryAttention
from tfqkd.fronts.tfmot.layers import ActivationQuantization

_OWN = {"GroupedQueryAttention": GroupedQueryAttention}
"""Layers that tf_keras lacks."""
_RENAMED = {"LeakyReLU": {"negative_slope": "alpha"}}
"""What tf_keras calls a setting otherwise, by class."""
_SAME = {"silu": "swish", "linear": None}
"""What tf_keras calls a function otherwise; no activation is the linear one."""
_OF_TRAINING = ("_initializer", "_regularizer", "_constraint", "activity_regularizer")
"""How settings end that matter in training alone."""
_LEFT_OUT = ("name", "dtype", "trainable")
_BY_KEYWORD = ("zero_output_for_mask",)
"""Settings that constructors of tf_keras take without naming them."""
_INNER = {"layer": "forward_layer", "backward_layer": "backward_layer"}
"""Settings that are layers, and the attribute of a Bidirectional that holds the one that computes."""


def twin_layer(layer: Any, path: str, name: str | None = None) -> keras.layers.Layer:
    """Returns a tf_keras layer with the settings of a Keras 3 layer.

    Each setting is given to the constructor, and must be what the new layer says about itself.

    Args:
        layer: The Keras 3 layer.
        path: What to call it in an error.
        name: The name of the new layer; that of the layer by default.

    Raises:
        ValueError: If a setting is not the default and tf_keras has no such setting, or not this value.
    """
    kind, name = type(layer).__name__, name or layer.name
    if kind == "ActivationQuantization":
        return ActivationQuantization(layer.step, layer.lower, layer.upper, name=name)
    cls = _OWN.get(kind) or getattr(keras.layers, kind)
    given = _settings(layer, cls, path)
    try:
        made = cls(name=name, **given)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"A layer must exist in tf_keras too. Received: {kind} '{path}', for which tf_keras raised: "
            f"{str(error).splitlines()[0]}. Take another setting."
        ) from error
    kept = made.get_config()
    for key, value in given.items():
        # What tf_keras does not say about itself it may have dropped.
        same = _is_same(value, kept[key]) if key in kept else _is_default(layer, key, value)
        if key not in _INNER and not same:
            raise _dropped(layer, path, key, value)
    return made


def _settings(layer: Any, cls: type, path: str) -> dict[str, Any]:
    known, renamed = {*_parameters(cls), *_BY_KEYWORD}, _RENAMED.get(type(layer).__name__, {})
    given: dict[str, Any] = {}
    for key, value in layer.get_config().items():
        if key in _LEFT_OUT or key.endswith(_OF_TRAINING):
            continue
        if renamed.get(key, key) not in known:
            if not _is_default(layer, key, value):
                raise _dropped(layer, path, key, value)
        elif key in _INNER:
            inner = getattr(layer, _INNER[key], None) or layer.layer
            # A Bidirectional puts "forward_" and "backward_" before the names of its two.
            prefix = _INNER[key].removesuffix("layer") if hasattr(layer, _INNER[key]) else ""
            given[key] = twin_layer(
                inner, f"{path}/{inner.name}", name=inner.name.removeprefix(prefix)
            )
        else:
            given[renamed.get(key, key)] = value
    return given


def _dropped(layer: Any, path: str, key: str, value: Any) -> ValueError:
    return ValueError(
        f"Every setting of a layer must exist in its tf_keras twin. Received: {type(layer).__name__} "
        f"'{path}' with {key}={value!r}. Leave it at its default."
    )


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
    return value in (None, False) if parameter is None else _is_same(value, parameter.default)


def _is_same(value: Any, kept: Any) -> bool:
    """Whether two configs say the same: of numbers, names, and sequences of them."""
    if isinstance(value, (list, tuple)) and isinstance(kept, (list, tuple)):
        pairs = zip(value, kept, strict=False)
        return len(value) == len(kept) and all(_is_same(*pair) for pair in pairs)
    if isinstance(value, float) and isinstance(kept, float):
        return math.isclose(value, kept, rel_tol=1e-6)
    one, other = (
        _SAME.get(each, each) if isinstance(each, str) else each for each in (value, kept)
    )
    return bool(one == other)
