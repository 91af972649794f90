"""A model that is ready to be written: stripped, checked, and its logits known."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np

from tfqkd.compat import keras, tf
from tfqkd.export.channels import rows_of
from tfqkd.export.codes import find_planes
from tfqkd.export.owners import Owners, layer_paths
from tfqkd.export.verification import ExportError
from tfqkd.fronts.tfmot.outputs import output_of
from tfqkd.runtime.images import batches, checked_images
from tfqkd.runtime.outputs import SIGNATURE_NAMES
from tfqkd.runtime.signature import INPUT

_RANDOM_IMAGES = 16


@dataclasses.dataclass(frozen=True)
class TestSet:
    """Labelled images that every file's accuracy is measured on.

    Attributes:
        images: uint8 or float32 [n, H, W, C] in 0..255.
        labels: The classes, integers [n].
    """

    images: np.ndarray
    labels: np.ndarray

    def accuracy(self, logits: np.ndarray) -> float:
        """Returns the share of images whose class has the highest logit."""
        return float(np.mean(logits.argmax(axis=1) == self.labels))


@dataclasses.dataclass(frozen=True)
class Source:
    """What is exported.

    Attributes:
        model: A plain float32 Keras model with the quantized values in its kernels.
        class_names: The names of the classes in the order of the logits, if they are known.
        images: float32 [n, H, W, C] in 0..255, what each file is verified on.
        logits: float32 [n, classes], what the model says about them on the CPU, whatever that is.
        output: What it is, of `tfqkd.runtime.outputs.OUTPUTS`.
        calibration: float32 [n, H, W, C], real images that activations are calibrated on, if any.
        test: What each file's accuracy is measured on, if any.
        test_logits: float32 [n, classes], what the model says there.
        quantized: The kernels of the layers that are quantized, by layer, each float32
            [channels, weights of a channel]. In a stripped model those that have codes.
    """

    model: keras.Model
    class_names: tuple[str, ...] | None
    images: np.ndarray
    logits: np.ndarray
    output: str
    quantized: dict[str, tuple[np.ndarray, ...]]
    calibration: np.ndarray | None = None
    test: TestSet | None = None
    test_logits: np.ndarray | None = None
    _converted: dict[str, bytes] = dataclasses.field(default_factory=dict, init=False, repr=False)

    @classmethod
    def prepare(
        cls,
        model: keras.Model,
        class_names: Sequence[str] | None = None,
        images: np.ndarray | None = None,
        calibration: np.ndarray | None = None,
        test: tuple[np.ndarray, np.ndarray] | None = None,
        output: str | None = None,
    ) -> "Source":
        """Strips and checks a model.

        Args:
            model: A Functional or Sequential model from raw pixels [N, H, W, C] to outputs [N,
                classes]; a quantized one is stripped, and one with mixed precision is rebuilt in
                float32.
            class_names: One name a class.
            images: uint8 or float32 [n, H, W, C] in 0..255; by default 16 random ones, always the
                same.
            calibration: Real images, as `images`.
            test: Images, as `images`, and their classes, integers [n], that each file's accuracy is
                to be measured on.
            output: What the model returns, of `tfqkd.runtime.outputs.OUTPUTS`, if it may not show it; see
                `outputs.output_of`.

        Raises:
            TypeError: If `model` is not a Keras model, or images have another type of number.
            ValueError: If shapes, names, images or classes do not fit, or `output`.
            ExportError: If a logit is not finite.
        """
        shape, classes, names = require_exportable(model, class_names)
        pixels = checked_images(random_images(shape) if images is None else images, shape)
        tested = None if test is None else _checked_test(*test, shape, classes)
        plain = _in_float32(_stripped(model))
        logits = _logits(plain, pixels)
        if not np.isfinite(logits).all():
            raise ExportError(
                "The model's logits must be finite. "
                f"Received: {np.count_nonzero(~np.isfinite(logits))} of {logits.size} logits on "
                f"{len(pixels)} images are NaN or infinite. Look for NaN weights, or train again."
            )
        return cls(
            plain,
            names,
            pixels,
            logits,
            output_of(model, logits, output),
            _quantized(model, plain),
            None if calibration is None else checked_images(calibration, shape),
            tested,
            None if tested is None else _logits(plain, tested.images),
        )

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
        """Returns the model as a module with one function, `serve`, from `images` to what it returns."""
        model, name = self.model, SIGNATURE_NAMES[self.output]
        signature = tf.TensorSpec([None, *self.images.shape[1:]], tf.float32, name=INPUT)

        @tf.function(input_signature=[signature])
        def serve(images: tf.Tensor) -> dict[str, tf.Tensor]:
            return {name: model(images, training=False)}

        module = tf.Module()
        # The variables alone: with the model itself, the file would hold Keras' metadata.
        module.model_variables = model.variables
        module.serve = serve
        return module


def require_exportable(
    model: keras.Model, class_names: Sequence[str] | None = None
) -> tuple[tuple[int, ...], int, tuple[str, ...] | None]:
    """Refuses a model that no format can hold, whatever its weights.

    Args:
        model: See `Source.prepare`.
        class_names: See `Source.prepare`.

    Returns:
        The shape of an image, the number of classes, and their names.

    Raises:
        TypeError: If `model` is not a Keras model.
        ValueError: If shapes or names do not fit.
    """
    shape, classes = _image_shape_and_classes(model)
    names = None if class_names is None else _checked_names(class_names, classes)
    return shape, classes, names


def _image_shape_and_classes(model: keras.Model) -> tuple[tuple[int, ...], int]:
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
    inputs = [tuple(tensor.shape) for tensor in model.inputs]
    if len(inputs) != 1 or len(inputs[0]) != 4 or None in inputs[0][1:]:
        raise ValueError(
            "`model` must take one batch of images [None, H, W, C] of a fixed size. "
            f"Received: inputs of shape {inputs}. Build it on keras.Input((H, W, C))."
        )
    outputs = [tuple(tensor.shape) for tensor in model.outputs]
    if len(outputs) != 1 or len(outputs[0]) != 2 or not model.outputs[0].dtype.is_floating:
        raise ValueError(
            "`model` must return one float tensor [None, classes]. "
            f"Received: outputs of shape {outputs}. End it with a Dense layer."
        )
    return inputs[0][1:], outputs[0][1]


def _checked_names(class_names: Sequence[str], classes: int) -> tuple[str, ...]:
    names = tuple(class_names)
    if len(names) != classes:
        raise ValueError(
            f"`class_names` must hold one name for each of the {classes} logits. "
            f"Received: {len(names)} names. Use the names of the data the model was trained on."
        )
    bad = [name for name in names if not isinstance(name, str) or name.splitlines() != [name]]
    if bad:
        raise ValueError(
            "`class_names` must be strings of one line each, for they are written one a line. "
            f"Received: {bad[:3]}. Rename these classes."
        )
    return names


def _checked_test(
    images: np.ndarray, labels: np.ndarray, shape: tuple[int, ...], classes: int
) -> TestSet:
    images, labels = np.asarray(images), np.asarray(labels)
    checked_images(images[:1], shape)
    if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"The classes in `test` must be integers [n], one for each of {len(images)} images. "
            f"Received: {labels.dtype} {list(labels.shape)}. Use labels.reshape(-1) where each is a "
            "row of its own, and labels.argmax(axis=1) for one-hot rows."
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"The classes in `test` must be 0 to {classes - 1}, those of the logits. "
            f"Received: {labels.min()} to {labels.max()}. Use the data the model was trained on."
        )
    return TestSet(images, labels)


def random_images(shape: tuple[int, ...]) -> np.ndarray:
    """Returns images to verify on where none were given, always the same, uint8."""
    return np.random.default_rng(0).integers(0, 256, (_RANDOM_IMAGES, *shape), np.uint8)


def _stripped(model: keras.Model) -> keras.Model:
    from tfqkd.fronts.tfmot.model import strip_quantization

    return strip_quantization(model)


def _quantized(model: keras.Model, plain: keras.Model) -> dict[str, tuple[np.ndarray, ...]]:
    from tfqkd.fronts.tfmot.model import quantized_kernels

    wrapped = {(kernel.layer, kernel.attribute) for kernel in quantized_kernels(model)}
    # Of a twin: the names of layers of Keras 3.
    told: frozenset[str] = getattr(model, "quantized_layers", frozenset())
    found: dict[str, tuple[np.ndarray, ...]] = {}
    for path, layer in layer_paths(plain):
        name = "/".join(path)
        is_told = any("/".join(path[:length]) in told for length in range(1, len(path) + 1))
        for attribute, rows, is_looked_for in rows_of(layer):
            known = is_told or (name, attribute) in wrapped
            # A kernel of zeros has any codes, and no converter has to keep it.
            if rows.any() and (known or (is_looked_for and find_planes(rows, axis=0))):
                found[name] = (*found.get(name, ()), rows)
    return found


def _in_float32(model: keras.Model) -> keras.Model:
    """Rebuilds a model of mixed precision: LiteRT has no convolutions in half precision."""
    layers = [module for module in model.submodules if isinstance(module, keras.layers.Layer)]
    if all(layer.compute_dtype == "float32" for layer in layers):
        return model

    from tfqkd.fronts.tfmot.cloning import clone, copied

    twin = clone(model, lambda layer: copied(layer, dtype="float32"))
    twin.set_weights(model.get_weights())
    return twin


def _logits(model: keras.Model, images: np.ndarray) -> np.ndarray:
    # On a GPU, convolutions may round to TF32 and differ by 1e-3 from what a device computes.
    with tf.device("/CPU:0"):
        serve = tf.function(lambda batch: model(batch, training=False), reduce_retracing=True)
        logits = [serve(tf.cast(batch, tf.float32)) for batch in batches(images)]
        return tf.concat(logits, axis=0).numpy()
