"""Whole models: quantize them, and look at what is quantized in them."""

import dataclasses
from collections.abc import Iterator

from tfqkd.compat import is_keras3, keras, tf, tfmot
from tfqkd.core.activations import ActivationQuantizer
from tfqkd.core.policy import Bits, LayerPolicy
from tfqkd.core.quantizer import WeightQuantizer
from tfqkd.core.schemes import Scheme, TernaryScheme
from tfqkd.fronts.tfmot.activations import OutputQuantizer
from tfqkd.fronts.tfmot.cloning import clone
from tfqkd.fronts.tfmot.flattening import flattened, is_graph
from tfqkd.fronts.tfmot.gradients import GradientRounding
from tfqkd.fronts.tfmot.ops import OPS
from tfqkd.fronts.tfmot.policy import choose_bits
from tfqkd.fronts.tfmot.quantizers import KernelQuantizer, read
from tfqkd.fronts.tfmot.roundings import without_roundings
from tfqkd.fronts.tfmot.schemes import layer_configs
from tfqkd.fronts.tfmot.wrapper import QuantizedLayer


@dataclasses.dataclass(frozen=True)
class QuantizedKernel:
    """A kernel of a quantized layer, as it stands in a wrapped model.

    Attributes:
        layer: The layer's name, without tfmot's prefix.
        attribute: The layer's attribute that holds it, such as "kernel".
        latent: The float variable that training updates.
        quantizer: The settings of its quantizer.
        state: The quantizer's variables by name.
        trainable: Whether the layer trains; else kernel and state stay as they are.
    """

    layer: str
    attribute: str
    latent: tf.Variable
    quantizer: WeightQuantizer
    state: dict[str, tf.Variable]
    trainable: bool

    def value(self) -> tf.Tensor:
        """Returns the quantized kernel that the layer uses at inference, float32."""
        latent = tf.convert_to_tensor(self.latent)
        return self.quantizer.quantize(latent, read(self.state), OPS)

    def follow(self) -> None:
        """Lets the state follow the weights as they are now, as a training step does."""
        KernelQuantizer(self.quantizer)(self.latent, training=True, weights=self.state)

    def scales(self) -> tf.Tensor:
        """Returns the numbers that are kept beside the kernel's codes, float32."""
        latent = tf.convert_to_tensor(self.latent)
        return self.quantizer.scales(latent, read(self.state), OPS)


@dataclasses.dataclass(frozen=True)
class QuantizedActivation:
    """A quantized output of a layer, as it stands in a wrapped model.

    Attributes:
        layer: The layer's name, without tfmot's prefix.
        quantizer: The settings of its quantizer.
        learned: The variable that the quantizer trains.
    """

    layer: str
    quantizer: ActivationQuantizer
    learned: tf.Variable

    @property
    def step(self) -> float:
        """The trained step Δ: every activation is Δ times a code, zero is the code 0."""
        return float(self.quantizer.step(tf.convert_to_tensor(self.learned)))

    @property
    def code_range(self) -> tuple[int, int]:
        """The least and the largest code."""
        return self.quantizer.code_range()


def quantize_model(
    model: keras.Model, scheme: Scheme | None = None, layers: LayerPolicy = None
) -> keras.Model:
    """Returns a copy of `model` whose kernels are quantized in the forward pass and trained as floats.

    The copy starts from the weights of `model`, which is left as it is. Steps are computed from them, so
    quantize a trained model. If the scheme quantizes activations too, start their steps from data with
    `calibration.calibrate_activations`. Create it inside `strategy.scope()` to train it under that strategy.

    Example:
        ```python
        quantized = tfqkd.quantize_model(model, tfqkd.TernaryScheme())
        quantized = tfqkd.quantize_model(model, layers={"stage3.*": 4, "logits": 8})
        ```

    Args:
        model: A built Functional or Sequential tf_keras model. It may hold others, such as a pretrained base:
            the copy has their layers instead, by the names `base/conv1` (`flattening.flattened`). The fixed
            roundings of a stripped model give way to those of the scheme.
        scheme: What a quantized layer gets; `TernaryScheme()` by default.
        layers: Which layers, and to how many bits (`core.policy.choose_bits`). By default all but the first
            and the last layer with a kernel, which stay float: they hold few weights and cost most accuracy.

    Returns:
        A new model whose layers and outputs have the names of `model`, and are frozen where its are. It is
        saved as `.keras`, `.h5` or SavedModel, and loads where `tfqkd.tfmot` is imported.

    Raises:
        TypeError: If `model` is not a tf_keras model, or `scheme` no scheme of tfqkd.
        ValueError: If the model or one in it is subclassed, or the model is not built, already quantized, or
            nothing is selected; or if it rounds activations by fixed steps, and the scheme leaves them float.
    """
    scheme = scheme or TernaryScheme()
    copy = _flat(model, scheme)
    bits = choose_bits(copy, layers, scheme.bits, scheme.others)
    if copy is model:
        # A copy first: wrapping connects the layers again, which would leave traces on the user's model.
        copy = clone(model)
        copy.set_weights(model.get_weights())
    configs = layer_configs(scheme, copy, bits)

    def wrap(layer: keras.layers.Layer) -> keras.layers.Layer:
        # What regularized its output there is a tensor of the copy.
        layer._losses.clear()
        if layer.name not in configs:
            return layer
        # As tfmot.quantize_apply does, but in the layer's own dtype: that gives every wrapper the global one.
        return QuantizedLayer(layer, configs[layer.name], dtype=layer.dtype_policy)

    return clone(copy, wrap)


def require_quantizable(
    model: keras.Model, scheme: Scheme, layers: LayerPolicy = None
) -> dict[str, Bits]:
    """Returns the bits of every layer that `quantize_model` would quantize, or raises as it would.

    Args:
        model: As for `quantize_model`.
        scheme: As for `quantize_model`.
        layers: As for `quantize_model`.
    """
    return choose_bits(_flat(model, scheme), layers, scheme.bits, scheme.others)


def _flat(model: keras.Model, scheme: Scheme) -> keras.Model:
    """Returns a model that can be quantized as `flattened` does."""
    if not isinstance(scheme, Scheme):
        raise TypeError(
            f"`scheme` must be a tfqkd scheme. Received: scheme={scheme!r}. "
            "Pass an instance, e.g. tfqkd.TernaryScheme()."
        )
    _require_supported(model)
    return without_roundings(flattened(model), scheme.bits.activations)


def quantized_kernels(model: keras.Model) -> Iterator[QuantizedKernel]:
    """Yields the quantized kernels of a model that `quantize_model` or `quantize_apply` made."""
    for wrapper in wrappers(model):
        for latent, quantizer, state in wrapper._weight_vars:
            attribute = latent.name.split("/")[-1].split(":")[0]
            yield QuantizedKernel(
                wrapper.layer.name, attribute, latent, quantizer.settings, state, wrapper.trainable
            )


def quantized_activations(model: keras.Model) -> Iterator[QuantizedActivation]:
    """Yields the quantized activations of such a model, with their steps, for an exporter say."""
    for wrapper in wrappers(model):
        for quantizer in map(_activation_of, wrapper._output_quantizers):
            if quantizer is not None:
                variable = quantizer.variable(wrapper._output_quantizer_vars)
                yield QuantizedActivation(wrapper.layer.name, quantizer.settings, variable)


def quantizer_variables(model: keras.Model) -> list[tf.Variable]:
    """Returns the steps and scales that the optimizer trains; weight decay is not for them."""
    states = [v for kernel in quantized_kernels(model) for v in kernel.state.values()]
    states += [activation.learned for activation in quantized_activations(model)]
    return [variable for variable in states if variable.trainable]


def wrappers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yields the quantized layers of a model."""
    for layer in model.layers:
        if isinstance(layer, tfmot.quantization.keras.QuantizeWrapper):
            yield layer


def is_quantized(model: keras.Model) -> bool:
    """Returns whether a layer of the model is quantized."""
    return any(True for _ in wrappers(model))


def _activation_of(output: object) -> OutputQuantizer | None:
    return output.activation if isinstance(output, GradientRounding) else output  # type: ignore[return-value]


def _require_supported(model: object) -> None:
    if not isinstance(model, keras.Model):
        hint = (
            "It is a Keras 3 model: build it from `tf_keras` (`from tfqkd.compat import keras`), or set "
            "TF_USE_LEGACY_KERAS=1 before the first import of TensorFlow."
            if is_keras3(model)
            else "Build one with `from tfqkd.compat import keras`."
        )
        raise TypeError(f"The model must be a tf_keras model. Received: {type(model)}. {hint}")
    if not isinstance(model, keras.Sequential) and not is_graph(model):
        raise ValueError(
            "The model must be Functional or Sequential: in a subclassed one the layers cannot be replaced. "
            f"Received: {type(model).__name__}. Pass keras.Model(inputs, model.call(inputs)) instead, with "
            "inputs = keras.Input(shape): it has the same layers and weights."
        )
    if not (model.built and model.inputs):
        raise ValueError(
            "The model must be built: its steps are computed from its weights. Received: a Sequential "
            "model without an input shape. Add keras.Input(shape) as its first layer, or call it on a "
            "batch."
        )
    if is_quantized(model):
        raise ValueError(
            f"The model must be float. Received: {model.name}, which is quantized already. "
            "Use strip_quantization(model) first, or quantize the float model again."
        )
