"""Compares the layers of a Keras 3 model with their tf_keras twins, on random inputs."""

import dataclasses
import functools
import inspect
from typing import Any

import numpy as np

from tfqkd.compat import keras, tf

_ALLOWED = 1e-4
"""By how much outputs may differ, relative to the largest, or to 1 if that is smaller."""
_EXAMPLES, _STEPS = 2, 16
"""How many examples a layer is compared on, and what stands for sizes that are not fixed."""
_SPREAD = 3.0
"""Of the inputs: wide enough to meet the bends of activations."""


@dataclasses.dataclass(frozen=True)
class Pair:
    """A layer of Keras 3 and its twin.

    Attributes:
        path: The layer's name; in a model within the model "<model>/<layer>".
        layer: The layer.
        made: Its twin.
        args: What the twin was called with, symbolic tensors.
        kwargs: What it was called with by name.
    """

    path: str
    layer: Any
    made: keras.layers.Layer
    args: Any
    kwargs: dict[str, Any]


def require_same_outputs(pair: Pair) -> None:
    """Raises if a twin with the weights of its layer computes something else at inference.

    This finds what configs do not show: a setting that both have under one name and mean otherwise.

    Args:
        pair: The layer and its twin, both with their weights.

    Raises:
        ValueError: If outputs on random inputs differ by more than one ten thousandth of the largest.
    """
    draw = functools.partial(_drawn, random=np.random.default_rng(0), layer=pair.layer)
    args, kwargs = tf.nest.map_structure(draw, (pair.args, pair.kwargs))
    found = tf.nest.flatten(_asked(pair.made, args, kwargs))
    expected = tf.nest.flatten(_asked(pair.layer, args, kwargs))
    for one, other in zip(expected, found, strict=True):
        difference = difference_of(np.asarray(one), np.asarray(other))
        if difference is not None:
            raise ValueError(
                "A layer must compute what its tf_keras twin of the same settings computes. Received: "
                f"{type(pair.layer).__name__} '{pair.path}' with {_settings(pair.layer)}, whose outputs on "
                f"random inputs differ by up to {difference:.3g}. Take another setting."
            )


def difference_of(expected: np.ndarray, found: np.ndarray) -> float | None:
    """Returns by how much outputs differ at most, or None if that is rounding.

    Args:
        expected: Outputs of Keras 3.
        found: Those of the twin.
    """
    if expected.shape != found.shape:
        return float("nan")
    finite = np.isfinite(expected)
    # What overflows, or has no value, does so in both.
    if not np.array_equal(expected[~finite], found[~finite], equal_nan=True):
        return float("nan")
    expected, found = expected[finite], found[finite]
    difference = float(np.abs(expected - found).max(initial=0.0))
    allowed = _ALLOWED * max(1.0, float(np.abs(expected).max(initial=0.0)))
    return None if difference <= allowed else difference


def _asked(layer: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """What a layer of either Keras returns at inference; random ones of Keras 3 train by default."""
    if "training" in inspect.signature(layer.call).parameters:
        kwargs = {**kwargs, "training": False}
    return layer(*args, **kwargs)


def _drawn(tensor: Any, random: np.random.Generator, layer: Any) -> Any:
    """Returns random values for a symbolic tensor; anything else as it is."""
    if not hasattr(tensor, "_keras_history"):
        return tensor
    shape = [_EXAMPLES, *(_STEPS if size is None else size for size in tensor.shape[1:])]
    rows = getattr(getattr(layer, "layer", layer), "input_dim", None)
    if isinstance(rows, int):
        return tf.constant(random.integers(0, rows, shape), tensor.dtype)
    if not tensor.dtype.is_floating:
        return tf.cast(random.integers(0, 2, shape), tensor.dtype)
    return tf.constant(_SPREAD * random.normal(size=shape), tensor.dtype)


def _settings(layer: Any) -> str:
    """The settings of a layer that numbers and words tell, but its name and what matters in training."""
    shown = {
        key: value
        for key, value in layer.get_config().items()
        if isinstance(value, (str, float, bool)) and key not in ("name", "trainable")
    }
    return ", ".join(f"{key}={value!r}" for key, value in shown.items()) or "no settings"
