"""Batches of all that models take, images and others, checked against a signature."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tfqkd.runtime.images import checked_images
from tfqkd.runtime.signature import INPUT, Tensor

Arrays = dict[str, np.ndarray]
"""Batches by the names of inputs or outputs."""
Given = np.ndarray | Sequence[np.ndarray] | Mapping[str, np.ndarray]
"""What a user gives: one batch; of several inputs batches in their order, or by their names."""
_BATCH = 64


def checked_inputs(given: Any, signature: Mapping[str, Tensor]) -> Arrays:
    """Returns batches by name, in the order and types of a signature.

    Args:
        given: See `Given`; as many examples of each input, at least one.
        signature: The inputs by name.

    Raises:
        TypeError: If a batch has another type of number.
        ValueError: If inputs are missing or too many, or a batch has another shape.
    """
    named = _named(given, list(signature))
    checked = {name: _checked(name, named[name], tensor) for name, tensor in signature.items()}
    counts = {name: len(values) for name, values in checked.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(
            f"All inputs must have the same number of examples. Received: {counts}. Give each input one "
            "entry per example."
        )
    return checked


def batches(inputs: Mapping[str, np.ndarray], size: int = _BATCH) -> Iterator[Arrays]:
    """Yields the examples 64 at a time, which bounds the memory that activations take."""
    count = len(next(iter(inputs.values())))
    for start in range(0, count, size):
        yield {name: values[start : start + size] for name, values in inputs.items()}


def filled(values: np.ndarray, short: int) -> np.ndarray:
    """Returns a batch with its last example as often again as it is short of."""
    return np.concatenate([values, np.repeat(values[-1:], short, axis=0)]) if short else values


def _named(given: Any, names: list[str]) -> dict[str, Any]:
    if isinstance(given, Mapping):
        if set(given) != set(names):
            raise ValueError(
                f"The inputs must be {', '.join(names)}. Received: {', '.join(map(str, given))}. Give each "
                "by its name."
            )
        return dict(given)
    if len(names) == 1:
        return {names[0]: given}
    if not isinstance(given, (list, tuple)) or len(given) != len(names):
        received = f"{len(given)}" if isinstance(given, (list, tuple)) else type(given).__name__
        raise ValueError(
            f"There must be a batch for each input: {', '.join(names)}. Received: {received}. Give them in "
            "this order, or in a dict by name."
        )
    return dict(zip(names, given, strict=True))


def _checked(name: str, given: Any, tensor: Tensor) -> np.ndarray:
    shape = tensor.shape[1:]
    if name == INPUT and len(shape) == 3:
        return checked_images(given, tuple(size or 0 for size in shape))
    values = np.asarray(given)
    if not np.can_cast(values.dtype, tensor.type, "same_kind"):
        raise TypeError(
            f"`{name}` must be numbers of the type {tensor.type}. Received: {values.dtype}. Convert them "
            f"with {name}.astype({str(tensor.type)!r})."
        )
    fits = values.ndim == len(tensor.shape) and all(
        own in (None, size) for own, size in zip(shape, values.shape[1:], strict=True)
    )
    if not fits or not len(values):
        sizes = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(
            f"`{name}` must have the shape [N{', ' if sizes else ''}{sizes}], N ≥ 1. "
            f"Received: {list(values.shape)}. For one example use {name}[np.newaxis]."
        )
    return values.astype(tensor.type)
