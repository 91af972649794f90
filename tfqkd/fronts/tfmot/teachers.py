"""Teachers: any callable from a batch to logits, frozen and in inference mode."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from tfqkd.compat import is_keras3, keras, tf
from tfqkd.fronts.tfmot.shapes import require_takes
from tfqkd.fronts.tfmot.step_error import is_step_error, step_error

Teacher = Callable[[tf.Tensor], tf.Tensor]


def unpack_logits(x: Any) -> tuple[Any, tf.Tensor]:
    """Returns the images and the teacher's logits, float32, of the first half of a batch that has both.

    Args:
        x: `(x, teacher_logits)`.

    Raises:
        ValueError: If it is no such pair; as the step is traced.
    """
    if not (isinstance(x, tuple) and len(x) == 2):
        raise step_error(
            "With LOGITS_IN_BATCH every training batch must be ((x, teacher_logits), y). "
            f"Received: {tf.nest.map_structure(lambda t: t.shape, x)} for x. "
            "Train on TeacherCache.batches(...), or give the Distiller a teacher to ask."
        )
    images, logits = x
    return images, tf.cast(logits, tf.float32)


# What a last layer must not apply, by what a Distiller takes the outputs for. "auto" is not known yet.
_SQUASHING = {
    "auto": ("softmax",),
    "softmax": ("softmax", "sigmoid"),
    "sigmoid": ("softmax", "sigmoid"),
    "regression": (),
}


def as_teacher(teacher: Any, task: str = "softmax") -> Teacher:
    """Returns a function from a batch to float32 outputs through which no gradient flows.

    Args:
        teacher: A Keras model of any kind (called with `training=False`), what `tf.saved_model.load`
            returns, a signature of it, or any callable from a batch to logits, such as an `Ensemble` or a
            function with a preprocessing of its own. Its weights are used, never changed. A signature gets
            the batch in the float type that it takes.
        task: What its outputs are, as for a `Distiller`: logits, but for "regression".

    Raises:
        TypeError: If it is not callable and has no serving signature.
        ValueError: If a Keras teacher that should end in logits ends in softmax or sigmoid, or is not built,
            or a signature takes several inputs. When it is called: if it does not take the batch.
    """
    require_logits(teacher, "teacher", task)
    call: Teacher
    if isinstance(teacher, keras.Model) or is_keras3(teacher):
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

    def ask(batch: tf.Tensor) -> tf.Tensor:
        require_takes(teacher, "teacher", batch)
        try:
            answers = call(batch)
        except (ValueError, tf.errors.InvalidArgumentError) as error:
            if is_step_error(error):
                raise
            raise step_error(
                "A teacher must answer to the batches that the student is trained on. Received: a batch of "
                f"shape {getattr(batch, 'shape', '?')}, at which it raised {type(error).__name__} (above). "
                "Pass a function that gives it what it takes."
            ) from error
        return tf.stop_gradient(_logits(answers))

    return ask


class Ensemble:
    """Several teachers as one: the mean of their logits, or of the values of a regression.

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
        self.teachers = list(teachers)
        # Whether they may end in softmax depends on the task, which a Distiller knows.
        self._asked = [as_teacher(teacher, "regression") for teacher in teachers]

    def __call__(self, batch: tf.Tensor) -> tf.Tensor:
        """Returns the mean outputs, float32 `[batch, outputs]`."""
        return tf.add_n([teacher(batch) for teacher in self._asked]) / len(self._asked)


def members(teacher: object) -> list[Any]:
    """Returns the teachers of an ensemble, or of an ensemble of them; of another teacher itself."""
    if not isinstance(teacher, Ensemble):
        return [teacher]
    return [each for one in teacher.teachers for each in members(one)]


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
        if isinstance(model, keras.Model) or is_keras3(model):
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
    # A wrapper, such as tfmot's, holds the layer that it calls.
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
    # By name: Keras 3 and TensorFlow have functions and classes of their own.
    names = (type(layer).__name__, getattr(function, "__name__", ""))
    return next((f for f in functions if any(n.lower().startswith(f) for n in names)), None)


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
        raise step_error(
            "A teacher must return one tensor, its logits. "
            f"Received: {sorted(output)}. Pass a function that picks the logits."
        )
    return tf.cast(values[0], tf.float32)
