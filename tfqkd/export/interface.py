"""What a file of a model takes and returns: names, shapes and types, in the user's order."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfqkd.compat import keras, tf
from tfqkd.fronts.tfmot.output_form import input_names, output_names
from tfqkd.runtime.signature import INPUT, OTHER_INPUT, Tensor

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]*")
"""What TensorFlow takes for the name of an operation."""
_EXAMPLES = 16
ClassNames = tuple[str, ...] | dict[str, tuple[str, ...]] | None
"""The names of the classes; of several outputs by the name of the output."""


@dataclasses.dataclass(frozen=True)
class Interface:
    """The inputs and outputs of a model.

    Attributes:
        inputs: What a file takes, by name. An input of images is float32 whatever type the model declares.
        shapes: Of the outputs, by name, without the batch. One output has the name "": what it is called
            depends on what it is.
    """

    inputs: dict[str, Tensor]
    shapes: dict[str, tuple[int | None, ...]]

    @property
    def open_batch(self) -> dict[str, Tensor]:
        """The inputs with any number of examples."""
        return {
            name: tensor._replace(shape=(None, *tensor.shape[1:]))
            for name, tensor in self.inputs.items()
        }

    @property
    def outputs(self) -> dict[str, int | None]:
        """The sizes of the outputs' last axis, that of classes, by name."""
        return {name: shape[-1] for name, shape in self.shapes.items()}

    @property
    def is_flat(self) -> bool:
        """Whether each output is [N, classes]."""
        return all(len(shape) == 1 for shape in self.shapes.values())

    @classmethod
    def of(cls, model: keras.Model, batch_size: int | None = None) -> "Interface":
        """Returns the interface of a Functional or Sequential model.

        Args:
            model: The model.
            batch_size: How many examples a file takes at once; None for any number.

        Raises:
            TypeError: If it is not a Keras model.
            ValueError: If it is not built, a size is open, a type is none of numbers, or a name is none for a
                file.
        """
        _require_model(model)
        if batch_size is not None and batch_size < 1:
            raise ValueError(
                f"`batch_size` must be at least 1, or None. Received: batch_size={batch_size}. Leave it out "
                "for a file that takes any number of examples."
            )
        shapes = [tuple(tensor.shape)[1:] for tensor in model.inputs]
        if any(None in shape for shape in shapes):
            raise ValueError(
                "`model` must take batches of a fixed size: only the number of examples may be open. "
                f"Received: inputs of shape {[(None, *shape) for shape in shapes]}. Build it on keras.Input "
                "with all sizes."
            )
        names = input_names(model)
        if len(names) == 1:
            names = [INPUT if len(shapes[0]) == 3 else OTHER_INPUT]
        outputs = {"": model.outputs[0]}
        if len(model.outputs) > 1:
            named = output_names(model)
            outputs = dict(zip(named, model.outputs, strict=True))
            _require_names([*names, *named])
        _require_outputs(outputs)
        return cls(
            {
                name: Tensor((batch_size, *shape), _type(name, tensor))
                for name, shape, tensor in zip(names, shapes, model.inputs, strict=True)
            },
            {name: tuple(tensor.shape)[1:] for name, tensor in outputs.items()},
        )

    def checked_names(self, given: Any) -> ClassNames:
        """Returns names of classes that fit the outputs; None where there are none.

        Raises:
            ValueError: If they do not.
        """
        if given is None:
            return None
        if len(self.outputs) == 1:
            (classes,) = self.outputs.values()
            return _checked_names(given, classes)
        if not isinstance(given, Mapping) or not set(given) <= set(self.outputs):
            raise ValueError(
                "`class_names` of several outputs must be a dict by the names of the outputs, "
                f"{', '.join(self.outputs)}. Received: {given!r}. Leave out those without classes."
            )
        return {name: _checked_names(names, self.outputs[name]) for name, names in given.items()}


def random_examples(model: keras.Model, interface: Interface) -> dict[str, np.ndarray]:
    """Returns examples to verify on where none were given, always the same.

    Images are random pixels, numbers of words any that an Embedding knows, other whole numbers 0 or 1, and
    other values normally distributed.
    """
    generator = np.random.default_rng(0)
    words = _vocabularies(model)
    found: dict[str, np.ndarray] = {}
    for (name, tensor), symbol in zip(interface.inputs.items(), model.inputs, strict=True):
        shape = (_EXAMPLES, *(size or 0 for size in tensor.shape[1:]))
        if name == INPUT and len(shape) == 4:
            found[name] = random_images(shape[1:])
        elif id(symbol) in words:
            found[name] = generator.integers(0, words[id(symbol)], shape).astype(tensor.type)
        elif tensor.type.kind in "iub":
            found[name] = generator.integers(0, 2, shape).astype(tensor.type)
        else:
            found[name] = generator.normal(size=shape).astype(tensor.type)
    return found


def random_images(shape: tuple[int, ...]) -> np.ndarray:
    """Returns images to verify on where none were given, always the same, uint8."""
    return np.random.default_rng(0).integers(0, 256, (_EXAMPLES, *shape), np.uint8)


def _require_model(model: Any) -> None:
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"`model` must be a tf_keras model. Received: {type(model)}. "
            "Build it with `from tfqkd.compat import keras`."
        )
    if not model.built or not model.inputs:
        raise ValueError(
            "`model` must be a built Functional or Sequential model. "
            f"Received: {type(model).__name__} '{model.name}' without inputs. "
            "Rebuild it as keras.Model(inputs, outputs)."
        )


def _require_names(names: Sequence[str]) -> None:
    bad = [name for name in names if not _NAME.fullmatch(str(name))]
    if bad:
        raise ValueError(
            "Names of inputs and outputs must be letters, digits and _ . / -, because files contain them. "
            f"Received: {bad}. Rename the keras.Input, or the layer of the output."
        )


def _require_outputs(outputs: Mapping[str, Any]) -> None:
    bad = [
        tuple(tensor.shape)
        for tensor in outputs.values()
        if tensor.shape.rank is None or tensor.shape.rank < 2 or not tensor.dtype.is_floating
    ]
    if bad:
        raise ValueError(
            "`model` must return float tensors [None, ..., values]. "
            f"Received: outputs of shape {bad}. End it with a Dense layer, or leave a last axis of one."
        )


def _type(name: str, tensor: Any) -> np.dtype:
    if name == INPUT or tensor.dtype.is_floating:
        return np.dtype(np.float32)
    if tensor.dtype not in (tf.int32, tf.int64, tf.uint8, tf.bool):
        raise ValueError(
            "`model` must take floats, int32, int64, uint8 or bool. "
            f"Received: the input '{name}' of {tensor.dtype.name}. Turn strings into numbers before it."
        )
    return np.dtype(tensor.dtype.as_numpy_dtype)


def _vocabularies(model: keras.Model) -> dict[int, int]:
    """How many words the Embeddings know that read an input, by the input's id; the fewest of several."""
    found: dict[int, int] = {}
    for layer in model.layers:
        for node in layer.inbound_nodes if isinstance(layer, keras.layers.Embedding) else []:
            for tensor in node.keras_inputs:
                found[id(tensor)] = min(layer.input_dim, found.get(id(tensor), layer.input_dim))
    return found


def _checked_names(class_names: Sequence[str], classes: int | None) -> tuple[str, ...]:
    if isinstance(class_names, Mapping):
        raise ValueError(
            "`class_names` of one output must be a sequence of names. Received: a dict. Pass its names alone."
        )
    names = tuple(class_names)
    if len(names) != classes:
        raise ValueError(
            f"`class_names` must hold one name for each of the {classes} logits. "
            f"Received: {len(names)} names. Use the names of the data the model was trained on."
        )
    bad = [name for name in names if not isinstance(name, str) or name.splitlines() != [name]]
    if bad:
        raise ValueError(
            "`class_names` must be strings without line breaks, because files list one per line. "
            f"Received: {bad[:3]}. Rename these classes."
        )
    return names
