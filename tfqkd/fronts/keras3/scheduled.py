"""A variable that a schedule drives, by the epoch from outside or by the step inside the graph."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

_ops = keras.ops

CAPACITY = 2**14
"""Values that a table holds; a longer training gets a larger one, for which Keras traces the step again."""


class ScheduledVariable:
    """A float that a callback assigns, or that a table of values a step drives.

    On JAX what a callback assigns inside an epoch is lost, and under `steps_per_execution` several steps run
    between two calls of one: what changes at every step must be in the graph. Table, length and place are
    of one shape each, so that another schedule traces nothing. None of them belongs to a layer, a
    file or a checkpoint.

    Attributes:
        value: The variable, float32 scalar: what the last or the next step uses.

    Args:
        name: Name of the variable.
        initial: Its first value.
    """

    def __init__(self, name: str, initial: float) -> None:
        self._name = name
        self.value = self._variable(initial, "float32", name)
        self._table = self._variable(np.zeros(CAPACITY), "float32", f"{name}_table")
        # One variable of both: a step on JAX pays for each.
        self._length_and_place = self._variable([0, 0], "int32", f"{name}_length_and_place")

    @property
    def variables(self) -> list[keras.Variable]:
        """All that a step reads or assigns."""
        return [self.value, self._table, self._length_and_place]

    def follow(self, values: Sequence[float], place: int = 0) -> bool:
        """Takes `values[place]` at the next step, and so on; the last one stays.

        Returns:
            Whether the table was too small: a step that was traced holds the old one.
        """
        grown = len(values) > self._table.shape[0]
        size = self._table.shape[0]
        while size < len(values):
            size *= 2
        table = np.zeros(size, np.float32)
        table[: len(values)] = values
        if grown:
            self._table = self._variable(table, "float32", f"{self._name}_table")
        else:
            self._table.assign(table)
        self._length_and_place.assign(np.array([len(values), place], np.int32))
        return grown

    def hold(self) -> None:
        """Keeps the present value until it is assigned or a table is followed again."""
        self._length_and_place.assign(np.zeros(2, np.int32))

    def advance(self) -> Any:
        """Sets the variable for the next step and returns its value; in a graph."""
        length, place = self._length_and_place.value[0], self._length_and_place.value[1]
        index = _ops.clip(place, 0, _ops.maximum(length - 1, 0))
        value = _ops.where(length > 0, _ops.take(self._table.value, index), self.value.value)
        self.value.assign(value)
        self._length_and_place.assign(_ops.stack([length, place + 1]))
        return value

    @staticmethod
    def _variable(initial: Any, dtype: str, name: str) -> keras.Variable:
        # Every replica assigns the same value to its own copy.
        return keras.Variable(
            np.asarray(initial, dtype),
            dtype=dtype,
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",
            name=name,
        )
