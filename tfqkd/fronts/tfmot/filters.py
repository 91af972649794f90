"""Whole filters taken out of a model, where its graph allows it."""

import dataclasses
from typing import Any

import numpy as np

from tfqkd.compat import keras, tf
from tfqkd.fronts.tfmot.cloning import clone, copied

_layers = keras.layers
_PASSING = (
    _layers.ReLU,
    _layers.Dropout,
    _layers.SpatialDropout2D,
    _layers.MaxPooling2D,
    _layers.AveragePooling2D,
    _layers.GlobalAveragePooling2D,
    _layers.GlobalMaxPooling2D,
    _layers.ZeroPadding2D,
    _layers.UpSampling2D,
)
"""Layers that treat each channel by itself and leave one of zeros at zero."""


@dataclasses.dataclass(frozen=True)
class Chain:
    """A convolution whose filters one layer alone reads.

    Attributes:
        first: The convolution.
        between: What lies between, channel by channel.
        last: The convolution or Dense that reads it.
    """

    first: Any
    between: tuple[Any, ...]
    last: Any


def chains(model: keras.Model) -> list[Chain]:
    """Returns the convolutions whose filters can be taken out, in the model's order.

    Those of plain chains, and the inner ones of residual blocks: an addition needs all of its channels.
    """
    found = [_chain(layer, _readers(model)) for layer in model.layers if _is_convolution(layer)]
    return [chain for chain in found if chain]


def without_filters(model: keras.Model, share: float, norm: str = "l2") -> keras.Model:
    """Returns a copy without the weakest filters: fewer weights and less work, in any format.

    Of each convolution in `chains` the `round(share·filters)` of smallest norm go, but one is left. The
    copy says what the model would say if these filters, and batch norm's γ and β behind them, were zero.

    Args:
        model: A float Functional or built Sequential model.
        share: Of the filters, in [0, 1).
        norm: Of a filter's weights: the sum of their magnitudes, "l1", or the root of that of their squares.

    Raises:
        ValueError: If the share is out of range, or no convolution has filters that can go.
    """
    if not 0 <= share < 1:
        raise ValueError(f"`share` must be in [0, 1). Received: share={share}. For example 0.25.")
    found = chains(model)
    if not found:
        raise ValueError(
            "To take out filters, a convolution's must be read by one convolution or Dense, through layers "
            f"that treat channels apart. Received: {model.name}, which has none."
        )
    kept = {chain.first.name: _kept(chain.first, share, norm) for chain in found}
    # Which outputs and inputs of a layer stay.
    outs, ins = dict(kept), {chain.last.name: kept[chain.first.name] for chain in found}
    for chain in found:
        outs |= {layer.name: kept[chain.first.name] for layer in chain.between}

    def narrowed(layer: keras.layers.Layer) -> keras.layers.Layer:
        if layer.name in kept:
            return copied(layer, filters=len(kept[layer.name]))
        return copied(layer)

    copy = clone(model, narrowed)
    for layer in model.layers:
        weights = [
            _narrowed(layer, weight, outs.get(layer.name), ins.get(layer.name))
            for weight in layer.weights
        ]
        copy.get_layer(layer.name).set_weights(weights)
    return copy


def dropped(chain: Chain, share: float, norm: str = "l2") -> np.ndarray:
    """Returns the numbers of the filters that `without_filters` takes out of a chain."""
    return np.setdiff1d(np.arange(chain.first.filters), _kept(chain.first, share, norm))


def _chain(layer: Any, readers: dict[str, list[Any]]) -> Chain | None:
    between: list[Any] = []
    at = layer
    while len(readers[at.name]) == 1:
        (at,) = readers[at.name]
        if at is not None and (_is_convolution(at) or isinstance(at, _layers.Dense)):
            # A Dense on maps reads the last axis, as a convolution does.
            return Chain(layer, tuple(between), at)
        if at is None or not _passes(at) or len(at.inbound_nodes) != 1:
            return None
        between.append(at)
    return None


def _readers(model: keras.Model) -> dict[str, list[Any]]:
    """The layers that read each layer, once for each time; None for an output of the model."""
    own = set(map(id, model.layers))
    found: dict[str, list[Any]] = {layer.name: [] for layer in model.layers}
    for layer in model.layers:
        for node in layer.inbound_nodes:
            for before in tf.nest.flatten(node.inbound_layers):
                if id(before) in own:
                    found[before.name].append(layer)
    for tensor in model.outputs:
        found[tensor._keras_history.layer.name].append(None)
    return found


def _is_convolution(layer: Any) -> bool:
    last = getattr(layer, "data_format", None) == "channels_last"
    return type(layer) is _layers.Conv2D and layer.groups == 1 and last and _is_zero_kept(layer)


def _is_zero_kept(layer: Any) -> bool:
    return getattr(layer, "activation", None) in (
        None,
        keras.activations.linear,
        keras.activations.relu,
    )


def _passes(layer: Any) -> bool:
    if isinstance(layer, _layers.BatchNormalization):
        return list(layer.axis) == [len(layer.output.shape) - 1]
    if isinstance(layer, _layers.Activation):
        return _is_zero_kept(layer)
    if isinstance(layer, _layers.ReLU):
        return not layer.threshold
    return isinstance(layer, _PASSING)


def _kept(layer: Any, share: float, norm: str) -> np.ndarray:
    kernel = np.abs(layer.kernel.numpy().astype(np.float64)).reshape(-1, layer.filters)
    size = kernel.sum(axis=0) if norm == "l1" else np.sqrt((kernel**2).sum(axis=0))
    count = min(round(share * layer.filters), layer.filters - 1)
    return np.sort(np.argsort(size, kind="stable")[count:])


def _narrowed(
    layer: Any, weight: tf.Variable, outs: np.ndarray | None, ins: np.ndarray | None
) -> np.ndarray:
    value = weight.numpy()
    if ins is not None and weight is layer.kernel:
        value = np.take(value, ins, axis=-2)
    return value if outs is None else np.take(value, outs, axis=-1)
