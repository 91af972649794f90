"""Teachers: any callable from a batch to logits, frozen and in inference mode."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from tfqkd.compat import is_keras3, keras, tf
from tfqkd.core.teachers import Ensemble
from tfqkd.fronts.logits import require_logits
from tfqkd.fronts.tfmot.ops import OPS
from tfqkd.fronts.tfmot.output_form import in_order
from tfqkd.fronts.tfmot.shapes import require_takes
from tfqkd.fronts.tfmot.step_error import is_step_error, step_error

Teacher = Callable[[tf.Tensor], tf.Tensor]
Teachers = Callable[[Any], list[tf.Tensor]]
"""From a batch to several outputs."""


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
    ask = asked(teacher, [task], ["output"])
    return lambda batch: ask(batch)[0]


def asked(teacher: Any, tasks: Sequence[str], names: Sequence[str]) -> Teachers:
    """Returns a function from a batch to the outputs of a teacher that has these, in the order of the names.

    Args:
        teacher: As for `as_teacher`; of several outputs it returns a list in this order, or a dict by name.
        tasks: What each output is.
        names: Of the outputs.

    Raises:
        TypeError: As `as_teacher` does.
        ValueError: As `as_teacher` does.
    """
    require_logits(teacher, "teacher", dict(zip(names, tasks, strict=True)))
    if isinstance(teacher, Ensemble):
        return _combined(teacher, [asked(each, tasks, names) for each in teacher.teachers])
    call: Callable[[Any], Any]
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

    def ask(batch: Any) -> list[tf.Tensor]:
        require_takes(teacher, "teacher", batch)
        try:
            returned = call(batch)
        except (ValueError, tf.errors.InvalidArgumentError) as error:
            if is_step_error(error):
                raise
            raise step_error(
                "A teacher must accept the batches that the student is trained on. Received: a batch of "
                f"shape {getattr(batch, 'shape', '?')}, for which it raised {type(error).__name__} "
                "(above). Pass a function that converts the batch first."
            ) from error
        found = _logits(returned) if len(names) == 1 else returned
        return [tf.stop_gradient(each) for each in in_order(found, names, "teacher")]

    return ask


def _combined(ensemble: Ensemble, asked: Sequence[Teachers]) -> Teachers:
    def ask(batch: Any) -> list[tf.Tensor]:
        by_output = zip(*(each(batch) for each in asked), strict=True)
        return [ensemble.combined(each, OPS) for each in by_output]

    return ask


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
