"""The names and the form of what a model takes and returns."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfqkd.compat import keras, tf
from tfqkd.fronts.tfmot.step_error import step_error


def input_names(model: keras.Model) -> list[str]:
    """Returns what the user calls the inputs of a Functional or Sequential model, as in `model.inputs`."""
    return _names(model._nested_inputs, model.input_names)


def output_names(model: keras.Model) -> list[str]:
    """Returns what the user calls the outputs of such a model, as `model.outputs` lists them."""
    return _names(model._nested_outputs, model.output_names)


def _names(structure: Any, layers: Sequence[str]) -> list[str]:
    # The keys of a dict, as `tf.nest.flatten` puts them; else Keras' names, those of layers.
    return sorted(structure) if isinstance(structure, dict) else list(layers)


def by_output(given: Any, names: Sequence[str]) -> list[Any]:
    """Returns what was given for each output, in the order of the names; None where nothing was.

    Args:
        given: One thing for all outputs, a list in their order, or a dict by their names.
        names: Of the outputs.

    Raises:
        ValueError: If it is a list of another length, or a dict with another name; also as a step is traced.
    """
    if isinstance(given, Mapping):
        if not set(given) <= set(names):
            raise step_error(
                f"A dict for outputs must use their names, {', '.join(names)}. Received: "
                f"{', '.join(map(str, given))}. Use the names of the keras.Model."
            )
        return [given.get(name) for name in names]
    if isinstance(given, (list, tuple)):
        if len(given) != len(names):
            raise step_error(
                f"A list for outputs must have one entry for each: {', '.join(names)}. Received: "
                f"{len(given)} entries. Give them in this order, or in a dict by name."
            )
        return list(given)
    return [given] * len(names)


def in_order(outputs: Any, names: Sequence[str], role: str) -> list[tf.Tensor]:
    """Returns what a model returned, float32, in the order of the names.

    Args:
        outputs: A tensor; of several outputs a list in their order, or a dict by their names.
        names: Of the outputs.
        role: What the error calls the model.

    Raises:
        ValueError: If there are others; as a step is traced.
    """
    named = isinstance(outputs, Mapping)
    flat = tf.nest.flatten(outputs)
    if len(flat) != len(names) or (named and len(names) > 1 and set(outputs) != set(names)):
        found = ", ".join(map(str, outputs)) if named else f"{len(flat)} tensors"
        raise step_error(
            f"The {role} must return the outputs {', '.join(names)}. Received: {found}. Pass a function that "
            "returns them in this order, or in a dict by name."
        )
    if named and len(names) > 1:
        flat = [outputs[name] for name in names]
    return [_in_float32(each) for each in flat]


class OutputForm:
    """The names of a student's outputs, and the form in which Keras has what belongs to them.

    Attributes:
        names: Of the outputs; of a subclassed model, which shows none, that of one.

    Args:
        student: A tf_keras model.
    """

    def __init__(self, student: keras.Model) -> None:
        shows = bool(getattr(student, "outputs", None))
        self.names = output_names(student) if shows else ["output"]
        self._is_named = shows and isinstance(student.output, dict)

    def tensors(self, outputs: Any) -> list[tf.Tensor]:
        """Returns what the student returned, float32, in the order of the names."""
        return in_order(outputs, self.names, "student")

    def each(self, given: Any) -> list[Any]:
        """Returns what was given for each output, as Keras takes it; see `by_output`."""
        return by_output(given, self.names) if len(self.names) > 1 else [given]

    def packed(self, outputs: list[Any]) -> Any:
        """Returns what belongs to each output in the form in which the student returns them."""
        if len(outputs) == 1:
            return outputs[0]
        return dict(zip(self.names, outputs, strict=True)) if self._is_named else outputs

    def shapes(self, student: keras.Model) -> list[Any]:
        """Returns the shapes of the outputs; None where the student shows none."""
        return self.each(getattr(student, "output_shape", None))


def mask_of(output: tf.Tensor) -> tf.Tensor | None:
    """Returns which steps of an output count, as Keras notes it; None where all do."""
    return getattr(output, "_keras_mask", None)


def _in_float32(tensor: Any) -> tf.Tensor:
    cast = tf.cast(tensor, tf.float32)
    mask = mask_of(tensor)
    if mask is not None:
        cast._keras_mask = mask
    return cast
