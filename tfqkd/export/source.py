"""A model that is ready to be written: stripped, checked, and its logits known."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tfqkd.compat import keras, tf
from tfqkd.export.channels import quantized_channels
from tfqkd.export.interface import ClassNames, Interface, random_examples
from tfqkd.export.owners import Owners, layer_paths
from tfqkd.export.verification import ExportError
from tfqkd.fronts.tfmot.outputs import output_of
from tfqkd.runtime.inputs import Arrays, Given, batches, checked_inputs
from tfqkd.runtime.outputs import SIGNATURE_NAMES
from tfqkd.runtime.signature import Tensor


@dataclasses.dataclass(frozen=True)
class TestSet:
    """Labelled examples that every file's accuracy is measured on.

    Attributes:
        inputs: By name, as the file takes them.
        labels: The classes, integers [n].
    """

    inputs: Arrays
    labels: np.ndarray

    def accuracy(self, logits: np.ndarray) -> float:
        """Returns the share of examples whose class has the highest logit."""
        return float(np.mean(logits.argmax(axis=1) == self.labels))


@dataclasses.dataclass(frozen=True)
class Source:
    """What is exported.

    Attributes:
        model: A plain float32 Keras model with the quantized values in its kernels.
        signature: What its files take, by name: shapes with the batch, None for one of any size.
        class_names: The names of the classes in the order of the logits, if they are known; of several
            outputs by output.
        inputs: What each file is verified on, by name.
        outputs: What the model says about that on the CPU, float32, by the names that files give it.
        kinds: What each output is, of `tfqkd.runtime.outputs.OUTPUTS`.
        calibration: Real examples that activations are calibrated on, by name, if any.
        test: What each file's accuracy is measured on, if any.
        test_logits: float32 [n, classes], what the model says there.
        centre_crop: Whether files say that images are cut to their middle before they are resized.
        quantized: The kernels of the layers that are quantized, by layer, each float32
            [channels, weights of a channel]. In a stripped model those that have codes.
    """

    model: keras.Model
    signature: dict[str, Tensor]
    class_names: ClassNames
    inputs: Arrays
    outputs: Arrays
    kinds: dict[str, str]
    quantized: dict[str, tuple[np.ndarray, ...]]
    calibration: Arrays | None = None
    test: TestSet | None = None
    test_logits: np.ndarray | None = None
    centre_crop: bool = False
    _converted: dict[str, bytes] = dataclasses.field(default_factory=dict, init=False, repr=False)

    @classmethod
    def prepare(
        cls,
        model: keras.Model,
        class_names: Any = None,
        images: Given | None = None,
        calibration: Given | None = None,
        test: tuple[Given, np.ndarray] | None = None,
        output: str | Mapping[str, str] | None = None,
        batch_size: int | None = None,
        centre_crop: bool = False,
    ) -> "Source":
        """Strips and checks a model.

        Args:
            model: A Functional or Sequential model, from raw pixels [N, H, W, C] to outputs [N, classes], or
                of other inputs and outputs; a quantized one is stripped, and one with mixed precision is
                rebuilt in float32.
            class_names: One name a class; of several outputs a dict by output.
            images: uint8 or float32 [n, H, W, C] in 0..255, or what else the model takes; by default 16
                random examples, always the same.
            calibration: Real examples, as `images`.
            test: Examples, as `images`, and their classes, integers [n], that each file's accuracy is
                to be measured on.
            output: What the model returns, of `tfqkd.runtime.outputs.OUTPUTS`, if it may not show it; see
                `outputs.output_of`. Of several outputs a dict by output.
            batch_size: How many examples a file takes at once; None for any number.
            centre_crop: As for `tfqkd.export.export`.

        Raises:
            TypeError: If `model` is not a Keras model, or examples have another type of number.
            ValueError: If shapes, names, examples or classes do not fit, or `output`.
            ExportError: If an output is not finite.
        """
        interface = Interface.of(model, batch_size)
        names = interface.checked_names(class_names)
        given = _given_kinds(output, interface)
        taken = interface.open_batch
        examples = random_examples(model, interface) if images is None else images
        inputs = checked_inputs(examples, taken)
        tested = None if test is None else _checked_test(*test, interface, taken)
        plain = _in_float32(_stripped(model))
        outputs = _outputs_of(plain, inputs)
        _require_finite(outputs)
        kinds = {
            name: output_of(model, output, given[name], index)
            for index, (name, output) in enumerate(zip(given, outputs, strict=True))
        }
        if len(kinds) == 1:
            kinds = {SIGNATURE_NAMES[kind]: kind for kind in kinds.values()}
        return cls(
            plain,
            interface.inputs,
            names,
            inputs,
            dict(zip(kinds, outputs, strict=True)),
            kinds,
            quantized_channels(model, plain),
            None if calibration is None else checked_inputs(calibration, taken),
            tested,
            None if tested is None else _outputs_of(plain, tested.inputs)[0],
            centre_crop,
        )

    @property
    def output(self) -> str | dict[str, str]:
        """What files say that they return: what it is; of several outputs by name, in order."""
        return self.kinds if len(self.kinds) > 1 else next(iter(self.kinds.values()))

    @property
    def count(self) -> int:
        """On how many examples files are verified."""
        return len(next(iter(self.inputs.values())))

    def converted(self, kind: str, convert: Callable[["Source"], bytes]) -> bytes:
        """Returns what a converter makes of the model, converted once for all formats that need it.

        Args:
            kind: A name for the converter.
            convert: The converter.
        """
        if kind not in self._converted:
            self._converted[kind] = convert(self)
        return self._converted[kind]

    @functools.cached_property
    def owners(self) -> Owners:
        """The kernels of the model's layers."""
        return Owners.of(self.model)

    def layer(self, name: str) -> keras.layers.Layer | None:
        """Returns the layer that `owners` calls so, or None if there is none."""
        named = (("/".join(path), layer) for path, layer in layer_paths(self.model))
        return next((layer for path, layer in named if path == name), None)

    def module(self) -> tf.Module:
        """Returns the model as a module with one function, `serve`, from inputs to outputs by name."""
        model, names = self.model, list(self.kinds)
        specs = [
            tf.TensorSpec(each.shape, each.type, name) for name, each in self.signature.items()
        ]

        def serve(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
            return dict(zip(names, _flat_outputs(model, tensors), strict=True))

        module = tf.Module()
        # The variables alone: with the model itself, the file would hold Keras' metadata.
        module.model_variables = model.variables
        module.serve = tf.function(serve, input_signature=specs)
        return module


def require_exportable(model: keras.Model, class_names: Any = None) -> None:
    """Refuses a model that no format can hold, whatever its weights.

    Args:
        model: See `Source.prepare`.
        class_names: See `Source.prepare`.

    Raises:
        TypeError: If `model` is not a Keras model.
        ValueError: If shapes or names do not fit.
    """
    Interface.of(model).checked_names(class_names)


def _given_kinds(output: Any, interface: Interface) -> dict[str, str | None]:
    """What the user says that each output is."""
    if len(interface.outputs) == 1:
        return dict.fromkeys(interface.outputs, output)
    if output is not None and not (
        isinstance(output, Mapping) and set(output) <= set(interface.outputs)
    ):
        raise ValueError(
            "`output` of several outputs must be a dict by the names of the outputs, "
            f"{', '.join(interface.outputs)}. Received: {output!r}. Leave out those that the model shows."
        )
    return {name: (output or {}).get(name) for name in interface.outputs}


def _checked_test(
    given: Given, labels: np.ndarray, interface: Interface, taken: dict[str, Tensor]
) -> TestSet:
    inputs, labels = checked_inputs(given, taken), np.asarray(labels)
    count = len(next(iter(inputs.values())))
    (classes, *others) = interface.outputs.values()
    if others or not interface.is_flat:
        raise ValueError(
            "`test` needs a model of one output [N, classes], whose highest tells the class. "
            f"Received: outputs {interface.shapes}. Leave it out, and compare the files' outputs."
        )
    if labels.shape != (count,) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"The classes in `test` must be integers [n], one for each of {count} images. "
            f"Received: {labels.dtype} {list(labels.shape)}. Use labels.reshape(-1) where each is a "
            "row of its own, and labels.argmax(axis=1) for one-hot rows."
        )
    if labels.min() < 0 or labels.max() >= (classes or 0):
        raise ValueError(
            f"The classes in `test` must be 0 to {(classes or 0) - 1}, those of the logits. "
            f"Received: {labels.min()} to {labels.max()}. Use the data the model was trained on."
        )
    return TestSet(inputs, labels)


def _require_finite(outputs: Sequence[np.ndarray]) -> None:
    bad = sum(np.count_nonzero(~np.isfinite(each)) for each in outputs)
    if bad:
        size = sum(each.size for each in outputs)
        raise ExportError(
            "The model's logits must be finite. "
            f"Received: {bad} of {size} logits on {len(outputs[0])} images are NaN or infinite. Look for NaN "
            "weights, or train again."
        )


def _stripped(model: keras.Model) -> keras.Model:
    from tfqkd.fronts.tfmot.stripping import strip_quantization

    return strip_quantization(model)


def _in_float32(model: keras.Model) -> keras.Model:
    """Rebuilds a model of mixed precision: LiteRT has no convolutions in half precision."""
    layers = [module for module in model.submodules if isinstance(module, keras.layers.Layer)]
    if all(layer.compute_dtype == "float32" for layer in layers):
        return model

    from tfqkd.fronts.tfmot.cloning import clone, copied

    twin = clone(model, lambda layer: copied(layer, dtype="float32"))
    twin.set_weights(model.get_weights())
    return twin


def _flat_outputs(model: keras.Model, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """What a model makes of inputs in the order of `model.inputs`, in that of `model.outputs`."""
    given = tf.nest.pack_sequence_as(model._nested_inputs, list(tensors))
    return tf.nest.flatten(model(given, training=False))


def _outputs_of(model: keras.Model, inputs: Arrays) -> list[np.ndarray]:
    # On a GPU, convolutions may round to TF32 and differ by 1e-3 from what a device computes.
    with tf.device("/CPU:0"):
        serve = tf.function(lambda *batch: _flat_outputs(model, batch), reduce_retracing=True)
        parts = [serve(*map(tf.constant, batch.values())) for batch in batches(inputs)]
        return [tf.concat(each, axis=0).numpy() for each in zip(*parts, strict=True)]
