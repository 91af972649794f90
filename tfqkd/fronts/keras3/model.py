"""Whole models: quantize them, and look at what is quantized in them."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import keras

from tfqkd.core.activations import ActivationQuantizer
from tfqkd.core.policy import Bits, LayerPolicy
from tfqkd.core.quantizer import WeightQuantizer
from tfqkd.core.rounded_layers import layer_quantizers
from tfqkd.core.schemes import Scheme, TernaryScheme
from tfqkd.fronts.keras3.cloning import clone, copied, is_graph, leaves
from tfqkd.fronts.keras3.fused_batch_norm import trained_class
from tfqkd.fronts.keras3.policy import choose_bits
from tfqkd.fronts.keras3.quantizer_state import HeldKernel
from tfqkd.fronts.keras3.roundings import without_roundings
from tfqkd.fronts.keras3.wiring import wiring
from tfqkd.fronts.keras3.wrapper import QuantizedLayer


@dataclasses.dataclass(frozen=True)
class QuantizedKernel:
    """A kernel of a quantized layer, as it stands in a wrapped model.

    Attributes:
        layer: The layer's name; in a model within the model "<model>/<layer>".
        attribute: The kernel's path within the layer, such as "kernel" or "query/kernel".
        latent: The float variable that training updates.
        quantizer: Its quantizer.
        state: The quantizer's variables by name.
        trainable: Whether the layer trains; else kernel and state stay as they are.
        held: The kernel as its layer holds it.
    """

    layer: str
    attribute: str
    latent: keras.Variable
    quantizer: WeightQuantizer
    state: dict[str, keras.Variable]
    trainable: bool
    held: HeldKernel

    def value(self) -> Any:
        """Returns the quantized kernel that the layer uses at inference, float32."""
        return self.held.value()

    def scales(self) -> Any:
        """Returns the numbers that are kept beside the kernel's codes, float32."""
        return self.held.scales()


@dataclasses.dataclass(frozen=True)
class QuantizedActivation:
    """A quantized output of a layer, as it stands in a wrapped model.

    Attributes:
        layer: The layer's name; in a model within the model "<model>/<layer>".
        quantizer: Its quantizer.
        learned: The variable that the quantizer trains.
    """

    layer: str
    quantizer: ActivationQuantizer
    learned: keras.Variable

    @property
    def step(self) -> float:
        """The trained step Δ: every activation is Δ times a code, zero is the code 0."""
        return float(self.quantizer.step(self.learned.value))

    @property
    def code_range(self) -> tuple[int, int]:
        """The least and the largest code."""
        return self.quantizer.code_range()


def quantize_model(
    model: keras.Model, scheme: Scheme | None = None, layers: LayerPolicy = None
) -> keras.Model:
    """Returns a copy of `model` whose kernels are quantized in the forward pass and trained as floats.

    The copy starts from the weights of `model`, which is left as it is. Steps are computed from them, so
    quantize a trained model.

    Example:
        ```python
        quantized = tfqkd.quantize_model(model, tfqkd.TernaryScheme())
        quantized = tfqkd.quantize_model(model, layers={"stage3.*": 4, "logits": 8})
        ```

    Args:
        model: A built Keras 3 model: Functional, Sequential, or one of these with such models as layers, each
            of whose layers is quantized by itself. A subclassed model, alone or as a layer, is one layer.
            The fixed roundings of a stripped model give way to those of the scheme.
        scheme: What a quantized layer gets; `TernaryScheme()` by default.
        layers: Which layers, and to how many bits (`tfqkd.core.policy.choose_bits`). By default all but the
            first and the last layer with a kernel, which stay float: they hold few weights and cost most
            accuracy. Layers of models within the model are called "<model>/<layer>".

    Returns:
        A new model whose layers, variables and outputs have the names of `model`, and are frozen where its
        are. It loads where `tfqkd.keras3` is imported.

    Raises:
        TypeError: If `model` is not a Keras 3 model, or `scheme` no scheme of tfqkd.
        ValueError: If the model is not built, is quantized already, has a layer that its config does not
            rebuild, or nothing is selected; or if it rounds activations by fixed steps, and the scheme leaves
            them float.
    """
    scheme = scheme or TernaryScheme()
    bits = require_quantizable(model, scheme, layers)
    graph = without_roundings(as_graph(model), scheme.bits.activations)
    names = {id(layer): name for name, layer in leaves(graph)}
    quantizers = layer_quantizers(scheme, bits, lambda: wiring(graph))

    def quantized(layer: keras.layers.Layer) -> keras.layers.Layer:
        name, copy = names[id(layer)], copied(layer, trained_class(layer))
        return QuantizedLayer(copy, *quantizers[name]) if name in quantizers else copy

    return clone(graph, quantized)


def require_quantizable(
    model: keras.Model, scheme: Scheme, layers: LayerPolicy = None
) -> dict[str, Bits]:
    """Returns the bits of every layer that `quantize_model` would quantize, or raises as it would.

    Args:
        model: As for `quantize_model`.
        scheme: As for `quantize_model`.
        layers: As for `quantize_model`.
    """
    if not isinstance(scheme, Scheme):
        raise TypeError(
            f"`scheme` must be a tfqkd scheme. Received: scheme={scheme!r}. "
            "Pass an instance, e.g. tfqkd.TernaryScheme()."
        )
    _require_supported(model)
    graph = without_roundings(as_graph(model), scheme.bits.activations)
    return choose_bits(graph, layers, scheme.bits, scheme.others)


def as_graph(model: keras.Model) -> keras.Model:
    """Returns a Functional or Sequential model as it is, a subclassed one as the one layer of a model.

    Raises:
        ValueError: If a subclassed model does not take one input.
    """
    if is_graph(model):
        return model
    shape = (model.get_build_config() or {}).get("input_shape")
    if not shape or not all(size is None or isinstance(size, int) for size in shape):
        raise ValueError(
            "A subclassed model must take one input to be quantized as a whole. "
            f"Received: '{model.name}', built for {shape}. Wrap its layers where it makes them: "
            "tfqkd.keras3.QuantizedLayer(layer, quantizer)."
        )
    inputs = keras.Input(tuple(shape)[1:])
    return keras.Model(inputs, model(inputs), name=model.name)


def quantized_kernels(model: keras.Model) -> Iterator[QuantizedKernel]:
    """Yields the quantized kernels of a model that `quantize_model` made, or whose author wrapped layers."""
    for name, wrapper in wrappers(model):
        for held in wrapper.quantized:
            kernel, trainable = held.kernel, wrapper.trainable
            yield QuantizedKernel(
                name, kernel.name, kernel.variable, held.quantizer, held.state, trainable, held
            )


def quantized_activations(model: keras.Model) -> Iterator[QuantizedActivation]:
    """Yields the quantized activations of such a model, with their steps, for an exporter say."""
    for name, wrapper in wrappers(model):
        held = wrapper.quantized_output
        if held is not None:
            yield QuantizedActivation(name, held.quantizer, held.learned)


def quantizer_variables(model: keras.Model) -> list[keras.Variable]:
    """Returns the state of such a model's quantizers: steps and scales, trained or not."""
    states = [value for kernel in quantized_kernels(model) for value in kernel.state.values()]
    return [*states, *(activation.learned for activation in quantized_activations(model))]


def wrappers(model: keras.Model) -> Iterator[tuple[str, QuantizedLayer]]:
    """Yields the quantized layers of a model with their names."""
    for name, layer in leaves(model):
        if isinstance(layer, QuantizedLayer):
            yield name, layer


def is_quantized(model: keras.Model) -> bool:
    """Returns whether a layer of the model is quantized."""
    return any(True for _ in wrappers(model))


def _require_supported(model: object) -> None:
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"The model must be a Keras 3 model. Received: {type(model)}. Build one with `import keras`; for "
            "a tf_keras model call tfqkd.quantize_model, which chooses by the model."
        )
    if not model.built:
        raise ValueError(
            f"The model must be built: its steps are computed from its weights. Received: '{model.name}' "
            "without weights. Give it a keras.Input, or call it on a batch."
        )
    if is_graph(model) and is_quantized(model):
        raise ValueError(
            f"The model must be float. Received: {model.name}, which is quantized already. "
            "Use strip_quantization(model) first, or quantize the float model again."
        )
