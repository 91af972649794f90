"""Teachers: any callable from a batch to logits, frozen and in inference mode."""

import contextlib
import functools
import inspect
import types
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from tfqkd.fronts.keras3.wrapper import QuantizedLayer

_ops = keras.ops


_SQUASHING = {
    "auto": ("softmax",),
    "softmax": ("softmax", "sigmoid"),
    "sigmoid": ("softmax", "sigmoid"),
    "regression": (),
}
"""What a last layer must not apply, by what a Distiller takes the outputs for."""


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
        self._given = members(teacher)
        for each in self._given:
            if any(cls.__module__.partition(".")[0] == "tf_keras" for cls in type(each).__mro__):
                raise TypeError(
                    "The teacher of a Keras 3 student must not be a tf_keras model: most backends cannot ask "
                    f"it. Received: '{each.name}'. Save it as .h5, which keras.models.load_model reads "
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
        self.variables = list(_variables_of(self._given))

    def require_logits(self, task: str) -> None:
        """Raises ValueError if a Keras model among them ends in softmax or sigmoid instead of logits."""
        for each in self._given:
            require_logits(each, "teacher", task)

    def __call__(self, batch: Any) -> Any:
        """Returns the outputs for a batch, float32, through which no gradient flows."""
        with _without_gradient():
            answers = [_logits(_called(each, batch)) for each in self._given]
        mean = functools.reduce(_ops.add, answers) / len(answers)
        return _ops.stop_gradient(mean)


class Ensemble:
    """Several teachers as one: the mean of their logits, or of the values of a regression.

    Example:
        ```python
        teacher = tfqkd.keras3.Ensemble([resnet, lambda images: vit(images / 127.5 - 1.0)])
        ```

    Args:
        teachers: What a `Distiller` takes; each may bring its own preprocessing.

    Raises:
        ValueError: If there is none, or one of them twice.
    """

    def __init__(self, teachers: Sequence[object]) -> None:
        if not teachers:
            raise ValueError("An ensemble needs at least one teacher. Received: none.")
        if len({id(teacher) for teacher in teachers}) < len(teachers):
            raise ValueError(
                "An ensemble must have different teachers: one twice is one that weighs more. "
                f"Received: {list(teachers)}. Name each once."
            )
        self.teachers = list(teachers)


def members(teacher: object) -> list[Any]:
    """Returns the teachers of an ensemble; of another teacher itself."""
    return list(teacher.teachers) if isinstance(teacher, Ensemble) else [teacher]


def require_logits(model: Any, role: str, task: str = "auto") -> None:
    """Raises if a Functional or Sequential model ends in softmax or sigmoid instead of logits.

    Args:
        model: The model to look at; a subclassed one or a function shows nothing and passes.
        role: What the error calls it.
        task: What its outputs are, as for a `Distiller`: values may end in anything, and "auto", while it
            is not known what they are, in anything but softmax.

    Raises:
        ValueError: If it has several outputs, or its last layer applies softmax or sigmoid.
    """
    outputs = getattr(model, "outputs", None)
    if not isinstance(model, keras.Model) or not outputs:
        return
    if len(outputs) > 1:
        raise ValueError(
            f"The {role} must have one output, its logits. "
            f"Received: {len(outputs)} outputs of '{model.name}'."
        )
    # What a Sequential model or an operation made says less than its layers do.
    layer = model.layers[-1] if isinstance(model, keras.Sequential) else _maker(outputs[0])
    if isinstance(layer, keras.Model):
        require_logits(layer, role, task)
        return
    applied = _applied(layer.layer if isinstance(layer, QuantizedLayer) else layer, task)
    if applied:
        raise ValueError(
            f"The {role} must end in logits, to which losses apply the {applied} themselves. Received: "
            f"'{model.name}' whose last layer '{layer.name}' applies {applied}. Set its activation to None "
            "(and from_logits=True in losses), or cut it: keras.Model(m.input, m.layers[-2].output)."
            + " Of values that are no classes say so: task='regression'."
            * (task == "auto")
        )


def _maker(tensor: Any) -> Any:
    return tensor._keras_history.operation


def _applied(layer: Any, task: str) -> str | None:
    function = getattr(getattr(layer, "activation", None), "__name__", "")
    names = (type(layer).__name__.lower(), function.lower())
    return next((f for f in _SQUASHING[task] if any(n.startswith(f) for n in names)), None)


def _called(teacher: Any, batch: Any) -> Any:
    if isinstance(teacher, keras.layers.Layer):
        return teacher(batch, training=False)
    return teacher(batch)


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
def _without_gradient() -> Iterator[None]:
    """On PyTorch an answer would bring its graph along, to be dropped at once."""
    if keras.backend.backend() != "torch":
        yield
        return
    import torch  # noqa: PLC0415 (the backend)

    with torch.no_grad():
        yield


def _variables_of(teachers: Any, depth: int = 5) -> Iterator[keras.Variable]:
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

    yield from walk(teachers, depth)


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
