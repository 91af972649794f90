"""Whether a model ends in logits, as far as its last layer tells; of either Keras."""

from typing import Any

from tfqkd.core.teachers import members
from tfqkd.fronts.choice import front_name

_SQUASHING = {
    "auto": ("softmax",),
    "softmax": ("softmax", "sigmoid"),
    "sigmoid": ("softmax", "sigmoid"),
    "regression": (),
}
"""What a last layer must not apply, by what a Distiller takes the outputs for; "auto" is not known yet."""


def require_logits(teacher: Any, role: str, task: str = "softmax") -> None:
    """Raises if a Functional or Sequential model ends in softmax or sigmoid instead of logits.

    Args:
        teacher: The model to look at, of tf_keras or Keras 3; a subclassed one or another teacher shows
            nothing and passes. Of an ensemble all are looked at.
        role: What the error calls it.
        task: What its outputs are, as for a `Distiller`: values may end in anything, and "auto", while it
            is not known what they are, in anything but softmax.

    Raises:
        ValueError: If it has several outputs, or its last layer applies softmax or sigmoid.
    """
    for model in members(teacher):
        if front_name(model) is not None:
            _require_end(model, role, task)


def _require_end(model: Any, role: str, task: str) -> None:
    outputs = getattr(model, "outputs", None)
    if not outputs:
        return
    if len(outputs) > 1:
        raise ValueError(
            f"The {role} must have one output, its logits. "
            f"Received: {len(outputs)} outputs of '{model.name}'."
        )
    layer = outputs[0]._keras_history[0]
    if layer is model:
        return
    if hasattr(layer, "layers"):
        _require_end(layer, role, task)
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
