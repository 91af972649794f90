"""Teachers: any callable from a batch to logits, frozen and in inference mode."""

from collections.abc import Callable, Sequence

from tfqkd.compat import is_keras3, keras, tf

Teacher = Callable[[tf.Tensor], tf.Tensor]


def as_teacher(teacher: object) -> Teacher:
    """Returns a function from a batch to float32 logits through which no gradient flows.

    Args:
        teacher: A Keras model of any kind (called with `training=False`), what `tf.saved_model.load`
            returns, a signature of it, or any callable from a batch to logits, such as an `Ensemble` or a
            function with a preprocessing of its own. Its weights are used, never changed.

    Raises:
        TypeError: If it is not callable and has no serving signature.
        ValueError: If a Keras teacher ends in softmax, or is not built.
    """
    if isinstance(teacher, keras.Model) or is_keras3(teacher):
        if isinstance(teacher, keras.Model):
            require_logits(teacher, "teacher")
        if not teacher.built:
            raise ValueError(
                "The teacher must be built. "
                f"Received: '{teacher.name}' without weights. Call it on a batch, or load its weights."
            )

        def call(batch: tf.Tensor) -> tf.Tensor:
            return teacher(batch, training=False)

    elif hasattr(teacher, "signatures") and "serving_default" in teacher.signatures:
        call = teacher.signatures["serving_default"]
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
        ValueError: If there is none.
    """

    def __init__(self, teachers: Sequence[object]) -> None:
        if not teachers:
            raise ValueError("An ensemble needs at least one teacher. Received: none.")
        self._teachers = [as_teacher(teacher) for teacher in teachers]

    def __call__(self, batch: tf.Tensor) -> tf.Tensor:
        """Returns the mean logits, float32 `[batch, classes]`."""
        return tf.add_n([teacher(batch) for teacher in self._teachers]) / len(self._teachers)


def require_logits(model: keras.Model, role: str) -> None:
    """Raises if a Functional or Sequential model ends in softmax instead of logits.

    Args:
        model: The model to look at; a subclassed one shows nothing and passes.
        role: What the error calls it.

    Raises:
        ValueError: If its last layer applies softmax.
    """
    output = getattr(model, "output", None) if getattr(model, "_is_graph_network", False) else None
    if output is None:
        return
    if not tf.is_tensor(output) and not hasattr(output, "_keras_history"):
        raise ValueError(
            f"The {role} must have one output, its logits. Received: {len(output)} outputs of '{model.name}'."
        )
    layer = output._keras_history.layer
    if isinstance(layer, keras.layers.Softmax) or _is_softmax(getattr(layer, "activation", None)):
        raise ValueError(
            f"The {role} must end in logits: the temperature divides them before the softmax. "
            f"Received: '{model.name}' whose last layer '{layer.name}' applies softmax. Set its activation "
            "to None (and from_logits=True in losses), or cut it: keras.Model(m.input, m.layers[-2].output)."
        )


def _is_softmax(activation: object) -> bool:
    # tfmot wraps an activation in an object that holds it under the same name.
    return keras.activations.softmax in (activation, getattr(activation, "activation", None))


def _logits(output: object) -> tf.Tensor:
    # A serving signature returns a dict, with one entry when it serves logits alone.
    values = list(output.values()) if isinstance(output, dict) else [output]
    if len(values) != 1:
        raise ValueError(
            "A teacher must return one tensor, its logits. "
            f"Received: {sorted(output)}. Pass a function that picks the logits."
        )
    return tf.cast(values[0], tf.float32)
