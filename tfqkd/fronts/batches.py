"""Data as the functions that measure a model take it: one batch, or an iterable of batches."""

from collections.abc import Iterable, Iterator
from typing import Any


def input_batches(data: Any) -> Iterator[Any]:
    """Yields the inputs of each batch of data."""
    for batch in batches_of(data):
        yield batch[0] if isinstance(batch, (tuple, list)) else batch


def batches_of(data: Any) -> Iterable[Any]:
    """Returns the batches of data: inputs or a tuple (inputs, labels), or an iterable of such batches."""
    # Arrays and tensors of every framework have a shape.
    return [data] if isinstance(data, tuple) or hasattr(data, "shape") else data
