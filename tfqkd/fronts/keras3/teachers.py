"""Teachers: any callable from a batch to logits, frozen and in inference mode."""

import contextlib
import functools
import inspect
import types
from collections.abc import Iterator
from typing import Any

import keras

from tfqkd.core.teachers import Ensemble, members
from tfqkd.fronts.keras3.ops import OPS
from tfqkd.fronts.keras3.shapes import require_takes
from tfqkd.fronts.logits import require_logits
from tfqkd.fronts.step_terms import Tapped

_ops = keras.ops


class Teacher:
    """A teacher as a `Distiller` asks it.

    Attributes:
        variables: Those of the Keras models that it is or that its functions hold. On JAX what is not passed
            to a compiled step is a constant in it: a `Distiller` passes them.

    Args:
        teacher: What `Distiller` takes.
        task: What its outputs are, as for a `Distiller`.

    Raises:
        TypeError: If it is not callable, or a model of tf_keras.
        ValueError: If it is a Keras model that is not built, or ends in softmax or sigmoid.
    """

    def __init__(self, teacher: Any, task: str = "auto") -> None:
        self._teacher = teacher
        for each in members(teacher):
            if any(cls.__module__.partition(".")[0] == "tf_keras" for cls in type(each).__mro__):
                raise TypeError(
                    "The teacher of a Keras 3 student must not be a tf_keras model: most backends cannot "
                    f"run it. Received: '{each.name}'. Save it as .h5, which keras.models.load_model reads "
                    "exactly."
                )
            if not callable(each):
                raise TypeError(
                    "A teacher must be a callable from a batch to logits. "
                    f"Received: {type(each)}. Pass a Keras 3 model or a function."
                )
            if isinstance(each, keras.Model) and not each.built:
                raise ValueError(
                    "The teacher must be built. "
                    f"Received: '{each.name}' without weights. Call it on a batch, or load its weights."
                )
        self.require_logits(task)
        self.variables = list(_variables_of(members(teacher)))

    def require_logits(self, task: str) -> None:
        """Raises ValueError if a Keras model among them ends in softmax or sigmoid instead of logits."""
        require_logits(self._teacher, "teacher", task)

    def __call__(self, batch: Any, tapped: Tapped) -> tuple[Any, list[Any]]:
        """Returns the outputs for a batch and what is tapped, float32, through which no gradient flows.

        Args:
            batch: What the student is shown.
            tapped: The teacher with the taps that are asked for; it is asked itself where there are none.
        """
        with without_gradient():
            taps: list[Any] = []
            if tapped.names:
                returned, taps = tapped(batch, training=False)
                outputs = _logits(returned)
            else:
                outputs = _outputs_of(self._teacher, batch)
            return _ops.stop_gradient(outputs), [_ops.stop_gradient(tap) for tap in taps]


def _outputs_of(teacher: Any, batch: Any) -> Any:
    if isinstance(teacher, Ensemble):
        return teacher.combined([_outputs_of(each, batch) for each in teacher.teachers], OPS)
    require_takes(teacher, "teacher", batch)
    if isinstance(teacher, keras.layers.Layer):
        return _logits(teacher(batch, training=False))
    return _logits(teacher(batch))


def _logits(output: Any) -> Any:
    # A serving signature returns a dict, with one entry when it serves logits alone.
    values = list(output.values()) if isinstance(output, dict) else [output]
    if len(values) != 1:
        raise ValueError(
            "A teacher must return one tensor, its logits. "
            f"Received: {sorted(output)}. Pass a function that picks the logits."
        )
    return _ops.cast(values[0], "float32")


@contextlib.contextmanager
def without_gradient() -> Iterator[None]:
    """On PyTorch what is computed outside would bring its graph along, to be dropped at once."""
    if keras.backend.backend() != "torch":
        yield
        return
    import torch  # noqa: PLC0415 (the backend)

    with torch.no_grad():
        yield


def _variables_of(teachers: Any) -> Iterator[keras.Variable]:
    """Yields the Keras variables that objects hold, that functions close over, and so on within these."""
    seen: set[int] = set()

    def walk(value: Any, depth: int) -> Iterator[keras.Variable]:
        if depth < 0 or id(value) in seen or isinstance(value, (types.ModuleType, type)):
            return
        seen.add(id(value))
        if isinstance(value, keras.Variable):
            yield value
        elif isinstance(value, keras.layers.Layer):
            for variable in value.variables:
                yield from walk(variable, 0)
        else:
            for inner in _within(value):
                yield from walk(inner, depth - 1)

    yield from walk(teachers, depth=5)


def _within(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple, set)):
        return list(value)
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, types.MethodType):
        return [value.__self__]
    if isinstance(value, types.FunctionType):
        closed = inspect.getclosurevars(value)
        return [*closed.nonlocals.values(), *closed.globals.values()]
    return list(vars(value).values()) if hasattr(value, "__dict__") else []
