"""Which layers of a model are quantized, and to how many bits."""

import re
from collections.abc import Callable, Mapping, Sequence

from tfqkd.compat import keras
from tfqkd.quantization.arithmetic import largest_code
from tfqkd.quantization.kernels import kernel_of

Selector = str | Sequence[str] | type | Callable[[keras.layers.Layer], bool | int | None]
LayerPolicy = None | Selector | Mapping[Selector, int | None]


def choose_bits(model: keras.Model, policy: LayerPolicy, default_bits: int) -> dict[str, int]:
    """Returns the bits of every layer that the policy quantizes, by name, in the model's order.

    Only layers with a kernel take part (see `kernels.kernel_of`).

    Args:
        model: A Functional or Sequential model.
        policy: One of
            - None: every layer but the first and the last one.
            - a regular expression: the layers whose whole name it matches.
            - a list of names: these layers.
            - a callable: called with each layer; returns True (default bits), bits, or False or None (float).
            - a dict from selectors to bits, or to None for float. A selector is one of the above (names in
              a tuple) or a layer class; the first that selects a layer decides, and layers that none
              selects are treated as under None.
        default_bits: Bits of a layer that is selected without bits of its own.

    Raises:
        ValueError: If a name or an expression selects no layer, bits are not 2 to 8, or nothing is left to
            quantize.
    """
    layers = [layer for layer in model.layers if kernel_of(layer)]
    names = [layer.name for layer in layers]
    rules, rest = _rules(policy, names, default_bits)
    for selector, _ in rules:
        _require_match(selector, names)

    def bits_of(layer: keras.layers.Layer) -> int | None:
        for selector, bits in rules:
            answer = _selects(selector, layer)
            if answer:
                return bits if answer is True else answer
        return default_bits if layer.name in rest else None

    answers = {layer.name: bits_of(layer) for layer in layers}
    chosen = {name: bits for name, bits in answers.items() if bits is not None}
    for bits in chosen.values():
        largest_code(bits)
    if not chosen:
        raise ValueError(
            "A policy must quantize at least one layer. "
            f"Received: layers={policy!r} for a model whose layers with kernels are {names}. "
            "By default the first and the last of them stay float: pass layers='.*' to quantize all."
        )
    return chosen


def _rules(
    policy: LayerPolicy, names: list[str], default_bits: int
) -> tuple[list[tuple[Selector, int | None]], list[str]]:
    """The policy as (selector, bits) pairs, and the layers quantized when none of them selects."""
    if policy is None:
        return [], names[1:-1]
    if isinstance(policy, Mapping):
        return list(policy.items()), names[1:-1]
    return [(policy, default_bits)], []


def _selects(selector: Selector, layer: keras.layers.Layer) -> bool | int | None:
    if isinstance(selector, str):
        return re.fullmatch(selector, layer.name) is not None
    if isinstance(selector, type):
        return isinstance(layer, selector)
    if callable(selector):
        return selector(layer)
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
