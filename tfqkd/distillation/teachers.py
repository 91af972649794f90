"""Teachers: any callable from a batch to logits, frozen and in inference mode."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from tfqkd.compat import is_keras3, keras, tf

Teacher = Callable[[tf.Tensor], tf.Tensor]


class LogitsInBatch:
    """The teacher whose logits come with the batch; use the one instance, `LOGITS_IN_BATCH`."""

    def __repr__(self) -> str:
        return "LOGITS_IN_BATCH"


LOGITS_IN_BATCH = LogitsInBatch()
"""A teacher for a `Distiller` that is trained on batches `((x, teacher_logits), y)`."""


def as_teacher(teacher: Any) -> Teacher:
    """Returns a function from a batch to float32 logits through which no gradient flows.

    Args:
        teacher: A Keras model of any kind (called with `training=False`), what `tf.saved_model.load`
            returns, a signature of it, or any callable from a batch to logits, such as an `Ensemble` or a
            function with a preprocessing of its own. Its weights are used, never changed. A signature gets
            the batch in the float type that it takes.

    Raises:
        TypeError: If it is not callable and has no serving signature.
        ValueError: If a Keras teacher ends in softmax or is not built, or a signature takes several inputs.
    """
    call: Teacher
    if isinstance(teacher, keras.Model) or is_keras3(teacher):
        require_logits(teacher, "teacher")
        if not teacher.built:
            raise ValueError(
                "The teacher must be built. "
                f"Received: '{teacher.name}' without weights. Call it on a batch, or load its weights."
            )

        call = functools.partial(teacher, training=False)
    elif hasattr(teacher, "signatures") and "serving_default" in teacher.signatures:
        call = _casting(teacher.signatures["serving_default"], teacher)
    elif hasattr(teacher, "structured_input_signature"):
        call = _casting(teacher, teacher)
    elif callable(teacher):
        call = teacher
    else:
        raise TypeError(
            "A teacher must be a callable from a batch to logits. "
            f"Received: {type(teacher)}. Pass a Keras model, a loaded SavedModel or a function."
        )
    return lambda batch: tf.stop_gradient(_logits(call(batch)))


class Ensemble:
    """Several teachers as one: the mean of their logits.

    Example:
        ```python
        teacher = tfqkd.Ensemble([resnet, lambda images: vit(images / 127.5 - 1.0)])
        ```

    Args:
        teachers: What `as_teacher` takes; each may bring its own preprocessing.

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
        self._teachers = [as_teacher(teacher) for teacher in teachers]

    def __call__(self, batch: tf.Tensor) -> tf.Tensor:
        """Returns the mean logits, float32 `[batch, classes]`."""
        return tf.add_n([teacher(batch) for teacher in self._teachers]) / len(self._teachers)


def require_logits(model: Any, role: str) -> None:
    """Raises if a Functional or Sequential model ends in softmax instead of logits.

    Args:
        model: The model to look at, of tf_keras or Keras 3; a subclassed one shows nothing and passes.
        role: What the error calls it.

    Raises:
        ValueError: If it has several outputs, or its last layer applies softmax.
    """
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
        require_logits(layer, role)
    # A wrapper, such as tfmot's, holds the layer that it calls.
    elif _applies_softmax(getattr(layer, "layer", layer)):
        raise ValueError(
            f"The {role} must end in logits, to which losses apply the softmax themselves. "
            f"Received: '{model.name}' whose last layer '{layer.name}' applies softmax. Set its activation "
            "to None (and from_logits=True in losses), or cut it: keras.Model(m.input, m.layers[-2].output)."
        )


def _applies_softmax(layer: Any) -> bool:
    function = getattr(layer, "activation", None) or getattr(layer, "function", None)
    # tfmot wraps an activation in an object that holds it under the same name.
    function = getattr(function, "activation", function)
    # By name: Keras 3 and TensorFlow have functions and classes of their own.
    names = (type(layer).__name__, getattr(function, "__name__", ""))
    return any(name.lower().startswith("softmax") for name in names)


def _casting(signature: Any, owner: Any) -> Teacher:
    """A signature takes its own type alone: images may come as uint8 where it wants float32."""
    inputs = tf.nest.flatten(signature.structured_input_signature)
    if len(inputs) != 1:
        raise ValueError(
            "A teacher's signature must take one tensor, the batch. "
            f"Received: {len(inputs)} inputs, {inputs}. Pass a function that calls it."
        )
    dtype = inputs[0].dtype

    # A signature alone does not keep the variables of its SavedModel alive: the owner does.
    def call(batch: tf.Tensor, _alive: Any = owner) -> Any:
        # To an integer type a cast would round in silence: TensorFlow refuses what does not fit.
        return signature(tf.cast(batch, dtype) if dtype.is_floating else batch)

    return call


def _logits(output: Any) -> tf.Tensor:
    # A serving signature returns a dict, with one entry when it serves logits alone.
    values = list(output.values()) if isinstance(output, dict) else [output]
    if len(values) != 1:
        raise ValueError(
            "A teacher must return one tensor, its logits. "
            f"Received: {sorted(output)}. Pass a function that picks the logits."
        )
    return tf.cast(values[0], tf.float32)
