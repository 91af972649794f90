"""Variables that schedules drive, by the epoch from outside or by the step inside the graph."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

_ops = keras.ops

CAPACITY = 2**14
"""Values that a table holds; a longer training gets larger ones, for which Keras traces the step again."""


class Schedules:
    """Floats that a callback assigns, or that tables of values a step drive.

    On JAX what a callback assigns inside an epoch is lost, and under `steps_per_execution` several steps run
    between two calls of one: what changes at every step must be in the graph. Tables, lengths and positions
    have one shape each, so that another schedule traces nothing; and one variable each for all settings,
    since a step on JAX pays for every variable. None of them belongs to a layer, a file or a checkpoint.

    Attributes:
        values: By setting, a float32 scalar: what the last or the next step uses.

    Args:
        initial: The first value of each setting.
    """

    def __init__(self, initial: Mapping[str, float]) -> None:
        self.values = {name: _variable(first, "float32", name) for name, first in initial.items()}
        self._rows = list(initial)
        self._kept = np.zeros((len(self._rows), CAPACITY), np.float32)
        self._tables = _variable(self._kept, "float32", "tables")
        self._lengths_and_positions = _variable(
            np.zeros((2, len(self._rows))), "int32", "lengths_and_positions"
        )

    @property
    def variables(self) -> list[keras.Variable]:
        """All that a step reads or assigns."""
        return [*self.values.values(), self._tables, self._lengths_and_positions]

    def follow(self, name: str, values: Sequence[float], first: int = 0) -> bool:
        """Lets a setting take `values[first]` at the next step, and so on; the last one stays.

        Returns:
            Whether the tables were too small: a step that was traced holds the old ones.
        """
        row, size = self._rows.index(name), self._kept.shape[1]
        while size < len(values):
            size *= 2
        grown = size > self._kept.shape[1]
        if grown:
            self._kept = np.pad(self._kept, ((0, 0), (0, size - self._kept.shape[1])))
            self._tables = _variable(self._kept, "float32", "tables")
        self._kept[row, : len(values)] = values
        self._tables.assign(self._kept)
        self._stand(row, len(values), first)
        return grown

    def hold(self, name: str) -> None:
        """Keeps the present value of a setting until it is assigned or a table is followed again."""
        self._stand(self._rows.index(name), 0, 0)

    def advance(self) -> dict[str, Any]:
        """Sets the variables for the next step and returns their values; in a graph."""
        lengths, positions = (
            self._lengths_and_positions.value[0],
            self._lengths_and_positions.value[1],
        )
        within = _ops.clip(positions, 0, _ops.maximum(lengths - 1, 0))
        count, size = self._kept.shape
        starts = np.arange(0, count * size, size, dtype=np.int32)
        found = _ops.take(_ops.reshape(self._tables.value, (-1,)), within + starts)
        held = _ops.stack([variable.value for variable in self.values.values()])
        values = _ops.where(lengths > 0, found, held)
        for row, variable in enumerate(self.values.values()):
            variable.assign(values[row])
        self._lengths_and_positions.assign(_ops.stack([lengths, positions + 1]))
        return {name: values[row] for row, name in enumerate(self._rows)}

    def _stand(self, row: int, length: int, position: int) -> None:
        if self._lengths_and_positions._value is None:
            # On JAX a step that failed has left no state.
            return
        standing = np.array(_ops.convert_to_numpy(self._lengths_and_positions.value))
        standing[:, row] = length, position
        self._lengths_and_positions.assign(standing)


@dataclasses.dataclass(frozen=True)
class Schedule:
    """One of the settings, for callbacks.

    Attributes:
        schedules: All of them.
        name: Of the setting.
    """

    schedules: Schedules
    name: str

    @property
    def value(self) -> keras.Variable:
        """What the last or the next step uses."""
        return self.schedules.values[self.name]

    def follow(self, values: Sequence[float], first: int = 0) -> bool:
        """See `Schedules.follow`."""
        return self.schedules.follow(self.name, values, first)

    def hold(self) -> None:
        """See `Schedules.hold`."""
        self.schedules.hold(self.name)


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
