"""What a step on JAX logs as one array: each that a compiled step returns costs the host time."""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


class Scalar:
    """A number in an array, which is read when the number is asked for.

    Args:
        array: Float32 `[..., numbers]`.
        index: Of the number, in the last axis.
    """

    __slots__ = ("_array", "_index")

    def __init__(self, array: Any, index: int) -> None:
        self._array, self._index = array, index

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(np.asarray(self._array)[..., self._index], dtype)

    def __float__(self) -> float:
        return float(np.asarray(self._array)[self._index])


@jax.tree_util.register_pytree_node_class
class StepLogs(dict):
    """The logs of a step: inside it what it was given; outside all float32 scalars are in one array.

    Args:
        logs: By name.
    """

    def __init__(self, logs: Mapping[str, Any]) -> None:
        super().__init__(logs)
        self._packed = tuple(name for name, value in logs.items() if _is_scalar(value))
        self._array = jnp.stack([logs[name] for name in self._packed]) if self._packed else None

    def tree_flatten(self) -> tuple[Any, Any]:
        """Returns the array and what is not in it, and the names of both."""
        others = tuple(name for name in self if name not in self._packed)
        return (self._array, *(self[name] for name in others)), (self._packed, others)

    @classmethod
    def tree_unflatten(cls, names: Any, children: Iterable[Any]) -> "StepLogs":
        """Returns the logs of what `tree_flatten` returned."""
        (array, *values), (packed, others) = children, names
        logs = cls.__new__(cls)
        logs._packed, logs._array = packed, array
        for index, name in enumerate(packed):
            logs[name] = Scalar(array, index)
        logs.update(zip(others, values, strict=True))
        return logs


def is_known(value: Any) -> bool:
    """Whether an array has its values, as it has outside of a step."""
    return not isinstance(value, jax.core.Tracer)


def _is_scalar(value: Any) -> bool:
    return isinstance(value, jax.Array) and value.ndim == 0 and value.dtype == jnp.float32
