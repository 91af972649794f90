"""Whole filters taken out of a model, where its graph allows it; of either Keras."""

import collections
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

_PASSING = (
    "ReLU",
    "Dropout",
    "SpatialDropout2D",
    "MaxPooling2D",
    "AveragePooling2D",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling2D",
    "ZeroPadding2D",
    "UpSampling2D",
)
"""Layers that treat each channel by itself and leave one of zeros at zero."""

Readers = Mapping[str, Sequence[Any]]
"""The layers that read each layer, by its name, once for each time; None for an output of the model."""


@dataclasses.dataclass(frozen=True)
class Chain:
    """A convolution whose filters one layer alone reads.

    Attributes:
        first: The convolution.
        between: What is between, channel by channel.
        last: The convolution or Dense that reads it.
    """

    first: Any
    between: tuple[Any, ...]
    last: Any


def chains(model: Any, readers: Readers, keras: Any) -> list[Chain]:
    """Returns the convolutions whose filters can be taken out, in the model's order.

    Those of plain chains, and the inner ones of residual blocks: an addition needs all of its channels.

    Args:
        model: A Functional or built Sequential model.
        readers: Of its layers.
        keras: The Keras that it is of.
    """
    firsts = [layer for layer in model.layers if _is_convolution(layer, keras)]
    found = [_chain(layer, readers, keras) for layer in firsts]
    return [chain for chain in found if chain]


def narrowed(
    model: Any,
    share: float,
    norm: str,
    found: Sequence[Chain],
    copy: Callable[[Mapping[str, int]], Any],
) -> Any:
    """Returns a copy without the weakest filters of each chain: fewer weights and less work, in any format.

    The `round(share·filters)` of smallest norm go, but one is left. The copy says what the model would say if
    these filters, and batch norm's γ and β behind them, were zero.

    Args:
        model: A float Functional or built Sequential model.
        share: Of the filters, in [0, 1).
        norm: Of a filter's weights: the sum of their magnitudes, "l1", or the root of that of their squares.
        found: The chains of the model.
        copy: Makes a model of the same graph, with these numbers of filters by the names of convolutions.

    Raises:
        ValueError: If the share is out of range, or no convolution has filters that can go.
    """
    if not 0 <= share < 1:
        raise ValueError(f"`share` must be in [0, 1). Received: share={share}. For example 0.25.")
    if not found:
        raise ValueError(
            "Filters can be taken out of a convolution that one convolution or Dense reads, through layers "
            f"that treat channels apart. Received: {model.name}, which has none."
        )
    kept = {chain.first.name: kept_of(chain, share, norm) for chain in found}
    # Which outputs and inputs of a layer stay.
    outs, ins = dict(kept), {chain.last.name: kept[chain.first.name] for chain in found}
    for chain in found:
        outs |= {layer.name: kept[chain.first.name] for layer in chain.between}
    narrow = copy({name: len(stay) for name, stay in kept.items()})
    for layer in model.layers:
        weights = layer.get_weights()
        if layer.name in ins:
            # The kernel comes first.
            weights[0] = np.take(weights[0], ins[layer.name], axis=-2)
        if layer.name in outs:
            weights = [np.take(weight, outs[layer.name], axis=-1) for weight in weights]
        narrow.get_layer(layer.name).set_weights(weights)
    return narrow


def kept_of(chain: Chain, share: float, norm: str) -> np.ndarray:
    """Returns the numbers of the filters of a chain that stay; see `narrowed`."""
    filters = chain.first.filters
    kernel = np.abs(chain.first.get_weights()[0].astype(np.float64)).reshape(-1, filters)
    size = kernel.sum(axis=0) if norm == "l1" else np.sqrt((kernel**2).sum(axis=0))
    count = min(round(share * filters), filters - 1)
    return np.sort(np.argsort(size, kind="stable")[count:])


def _chain(layer: Any, readers: Readers, keras: Any) -> Chain | None:
    reads = collections.Counter(id(at) for some in readers.values() for at in some)
    between: list[Any] = []
    at = layer
    while len(readers[at.name]) == 1:
        (at,) = readers[at.name]
        # What reads other maps too cannot lose channels of these.
        if at is None or reads[id(at)] != 1:
            return None
        if _is_convolution(at, keras) or isinstance(at, keras.layers.Dense):
            # A Dense on maps reads the last axis, as a convolution does.
            return Chain(layer, tuple(between), at)
        if not _passes(at, keras):
            return None
        between.append(at)
    return None


def _is_convolution(layer: Any, keras: Any) -> bool:
    last = getattr(layer, "data_format", None) == "channels_last"
    is_plain = type(layer) is keras.layers.Conv2D and layer.groups == 1
    return is_plain and last and _is_zero_kept(layer, keras)


def _is_zero_kept(layer: Any, keras: Any) -> bool:
    zero_kept = (None, keras.activations.linear, keras.activations.relu)
    return getattr(layer, "activation", None) in zero_kept


def _passes(layer: Any, keras: Any) -> bool:
    layers = keras.layers
    if isinstance(layer, layers.BatchNormalization):
        axes, last = np.atleast_1d(layer.axis), len(layer.output.shape) - 1
        return len(axes) == 1 and axes[0] in (-1, last)
    if isinstance(layer, layers.Activation):
        return _is_zero_kept(layer, keras)
    if isinstance(layer, layers.ReLU):
        return not layer.threshold
    return isinstance(layer, tuple(getattr(layers, name) for name in _PASSING))
