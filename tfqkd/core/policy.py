"""Which layers of a model are quantized, and to how many bits."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tfqkd.core.steps import largest_code


class Bits(NamedTuple):
    """The widths of a layer.

    Attributes:
        weights: Of its kernels, 2 to 8; None for float.
        activations: Of what it reads, 2 to 8; None for float.
    """

    weights: int | None
    activations: int | None = None


FLOAT = Bits(None, None)
"""The widths of a layer that is not quantized."""

Width = None | int | tuple[int | None, int | None]
"""Bits of the weights, with the scheme's bits for activations; both (`Bits`); or None, float."""
Selector = str | Sequence[str] | type | Callable[[Any], bool | Width]
LayerPolicy = None | Selector | Mapping[Selector, Width]


def choose_bits(
    layers: Sequence[Any],
    outputs: Sequence[Collection[str]],
    policy: LayerPolicy,
    default: Bits,
    others: Bits = FLOAT,
) -> dict[str, Bits]:
    """Returns the bits of every layer that the policy quantizes, by name, in the model's order.

    Args:
        layers: The layers that have a kernel, in the model's order; each has a `name`.
        outputs: For each output of the model the names of the layers that it comes from.
        policy: One of
            - None: every layer but the first and, for each output of the model, the last before it.
            - a regular expression: the layers whose whole name it matches.
            - a list of names: these layers.
            - a callable: called with each layer; returns True (default bits), bits, or False or None (float).
            - a dict from selectors to bits, or to None for float. A selector is one of the above (names in
              a tuple) or a layer class; the first that selects a layer decides, and layers that none
              selects are treated as under None.
            Bits are a number for the weights, or `Bits(weights, activations)`, either None for float.
        default: Bits of a layer that is selected without bits of its own. Without activation bits no layer
            may ask for some.
        others: Bits of the layers that the policy does not mention.

    Raises:
        ValueError: If a name or an expression selects no layer, bits are not 2 to 8, activation bits are
            asked for and the scheme has no activation quantizer, or nothing is left to quantize.
    """
    names = [layer.name for layer in layers]
    rules, rest = _rules(policy, _inner(names, outputs), default)
    for selector, _ in rules:
        _require_match(selector, names)

    def width_of(layer: Any) -> bool | Width:
        for selector, width in rules:
            selected = _selects(selector, layer)
            if selected is not None and selected is not False:
                return width if selected is True else selected
        return True if layer.name in rest else others

    bits_of = {layer.name: _bits(width_of(layer), default) for layer in layers}
    chosen = {name: bits for name, bits in bits_of.items() if bits != FLOAT}
    if not chosen:
        raise ValueError(
            "A policy must quantize at least one layer. "
            f"Received: layers={policy!r} for a model whose layers with kernels are {names}. "
            "By default the first of them and the last before each output stay float: pass layers='.*' to "
            "quantize all."
        )
    return chosen


def _bits(width: bool | Width, default: Bits) -> Bits:
    if width is None or width is False:
        return FLOAT
    if width is True or width == default:
        return default
    bits = Bits(*width) if isinstance(width, tuple) else Bits(width, default.activations)
    for number in bits:
        if number is not None:
            largest_code(number)
    if bits.activations is not None and default.activations is None:
        raise ValueError(
            "Activation bits need a scheme that quantizes activations. "
            f"Received: {bits}. Pass e.g. Scheme(LsqQuantizer(4), LsqActivationQuantizer(4))."
        )
    return bits


def _inner(names: list[str], outputs: Sequence[Collection[str]]) -> list[str]:
    """The named layers without the first, and for each output without the last that it comes from."""
    last = set()
    for sources in outputs:
        last.update([name for name in names if name in sources][-1:])
    return [name for name in names[1:] if name not in last]


def _rules(
    policy: LayerPolicy, inner: list[str], default: Bits
) -> tuple[list[tuple[Selector, Width]], list[str]]:
    """The policy as (selector, width) pairs, and the layers quantized when none of them selects."""
    if policy is None:
        return [], inner
    if isinstance(policy, Mapping):
        return list(policy.items()), inner
    return [(policy, default)], []


def _selects(selector: Selector, layer: Any) -> bool | Width:
    if isinstance(selector, str):
        return re.fullmatch(selector, layer.name) is not None
    if isinstance(selector, type):
        return isinstance(layer, selector)
    if callable(selector):
        selected = selector(layer)
        return selected.item() if isinstance(selected, np.generic) else selected
    return layer.name in selector


def _require_match(selector: Selector, names: list[str]) -> None:
    if isinstance(selector, str):
        try:
            missing = not any(re.fullmatch(selector, name) for name in names)
        except re.error as error:
            raise ValueError(
                f"A layer selector must be a regular expression. Received: {selector!r} ({error})."
            ) from error
    elif callable(selector):
        missing = False
    elif not isinstance(selector, Sequence):
        raise ValueError(
            "A layer selector must be a regular expression, names, a layer class or a callable. "
            f"Received: {selector!r}. For bits, pass a scheme, or a dict from selectors to bits."
        )
    else:
        missing = not set(selector) <= set(names)
    if missing:
        raise ValueError(
            "A layer selector must name layers of the model that have a kernel. "
            f"Received: {selector!r}. The model has {names}."
        )
