"""Whether a model ends in logits, as far as its last layer tells; of either Keras."""

from collections.abc import Mapping
from typing import Any

from tfqkd.core.teachers import members, require_combinable
from tfqkd.fronts.choice import front_name

_SQUASHING = {
    "auto": ("softmax",),
    "softmax": ("softmax", "sigmoid"),
    "sigmoid": ("softmax", "sigmoid"),
    "regression": (),
}
"""What a last layer must not apply, by what a Distiller takes the outputs for; "auto" is not known yet."""


def require_logits(teacher: Any, role: str, task: str | Mapping[str, str] = "softmax") -> None:
    """Raises if a Functional or Sequential model ends in softmax or sigmoid instead of logits.

    Args:
        teacher: The model to look at, of tf_keras or Keras 3; a subclassed one or another teacher shows
            nothing and passes. Of an ensemble all are looked at.
        role: What the error calls it.
        task: What its output is, as for a `Distiller`: values may end in anything, and "auto", while it
            is not known what they are, in anything but softmax. Of several outputs one for each, by name.

    Raises:
        ValueError: If it has another number of outputs, or one whose last layer applies softmax or sigmoid;
            or if it is an ensemble that combines probabilities of outputs that are no classes.
    """
    tasks = {"": task} if isinstance(task, str) else task
    require_combinable(teacher, tasks)
    for model in members(teacher):
        if front_name(model) is not None:
            _require_ends(model, role, tasks)


def _require_ends(model: Any, role: str, tasks: Mapping[str, str]) -> None:
    outputs = getattr(model, "outputs", None)
    if not outputs:
        return
    if len(outputs) != len(tasks):
        rule = "one output, its logits" if len(tasks) == 1 else f"{len(tasks)} outputs"
        raise ValueError(
            f"The {role} must have {rule}. Received: {len(outputs)} outputs of '{model.name}'."
        )
    returned = model.output if len(tasks) > 1 else None
    is_named = isinstance(returned, dict) and set(returned) == set(tasks)
    names = sorted(tasks) if is_named else list(tasks)
    for output, name in zip(outputs, names, strict=True):
        _require_end(model, output, role, tasks[name])


def _require_end(model: Any, output: Any, role: str, task: str) -> None:
    layer, _, index = output._keras_history[:3]
    if layer is model:
        return
    if hasattr(layer, "layers"):
        if getattr(layer, "outputs", None):
            _require_end(layer, layer.outputs[index], role, task)
        return
    # A wrapper, such as tfmot's and ours, holds the layer that it calls.
    applied = _applied(getattr(layer, "layer", layer), _SQUASHING[task])
    if applied:
        values = " Of values that are no classes say so: task='regression'." * (task == "auto")
        raise ValueError(
            f"The {role} must end in logits, to which losses apply the {applied} themselves. Received: "
            f"'{model.name}' whose last layer '{layer.name}' applies {applied}. Set its activation to None "
            "(and from_logits=True in losses), or cut it: keras.Model(m.input, m.layers[-2].output)."
            + values
        )


def _applied(layer: Any, functions: tuple[str, ...]) -> str | None:
    """Returns which of the functions a layer applies, or none."""
    function = getattr(layer, "activation", None) or getattr(layer, "function", None)
    # tfmot wraps an activation in an object that holds it under the same name.
    function = getattr(function, "activation", function)
    # By name: each Keras and TensorFlow have functions and classes of their own.
    names = (type(layer).__name__, getattr(function, "__name__", ""))
    return next((f for f in functions if any(n.lower().startswith(f) for n in names)), None)
