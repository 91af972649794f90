"""Plain models for deployment, with the quantized values as their kernels."""

from tfqkd.compat import keras, tf
from tfqkd.fronts.tfmot.activations import OutputQuantizer
from tfqkd.fronts.tfmot.cloning import clone, copied, plain_layer
from tfqkd.fronts.tfmot.gradients import GradientRounding
from tfqkd.fronts.tfmot.insertion import insert_behind
from tfqkd.fronts.tfmot.layers import ActivationQuantization
from tfqkd.fronts.tfmot.model import (
    QuantizedKernel,
    quantized_activations,
    quantized_kernels,
    wrappers,
)
from tfqkd.fronts.tfmot.quantizers import KernelQuantizer


def strip_quantization(model: keras.Model) -> keras.Model:
    """Returns the plain Keras model with the quantized values as its kernels.

    Its outputs are bit-identical to those of `model` at inference, and it needs neither tfqkd nor tfmot.
    Quantized activations stay, each as a layer `<layer>_quantization` with the trained step
    (`layers.ActivationQuantization`); such a model loads where `tfqkd.tfmot` is imported.

    Args:
        model: A model that `quantize_model` or `quantize_apply` made; a float model is copied.

    Raises:
        ValueError: If a wrapper quantizes anything not by a tfqkd quantizer: a plain layer cannot hold what
            it does.
    """
    stripped = strip_weights(model)
    activations = {
        activation.layer: ActivationQuantization(
            activation.step,
            *activation.code_range,
            name=f"{activation.layer}_quantization",
            dtype=stripped.get_layer(activation.layer).dtype_policy,
        )
        for activation in quantized_activations(model)
    }
    return insert_behind(stripped, activations) if activations else stripped


def strip_weights(model: keras.Model) -> keras.Model:
    """Returns the plain Keras model with the quantized values as its kernels and float activations.

    Args:
        model: As for `strip_quantization`.

    Raises:
        ValueError: As `strip_quantization` does.
    """
    for wrapper in wrappers(model):
        _require_ours(wrapper)

    stripped = clone(model, lambda layer: copied(plain_layer(layer)))
    kernels: dict[str, list[QuantizedKernel]] = {}
    for kernel in quantized_kernels(model):
        kernels.setdefault(kernel.layer, []).append(kernel)
    for layer in model.layers:
        inner = plain_layer(layer)
        plain = stripped.get_layer(inner.name)
        quantized = kernels.get(inner.name, [])
        targets = [getattr(plain, kernel.attribute) for kernel in quantized]
        for target, kernel in zip(targets, quantized, strict=True):
            target.assign(kernel.value())
        # What was not quantized: a bias, say.
        kept = _without(inner.weights, [kernel.latent for kernel in quantized])
        for variable, weight in zip(_without(plain.weights, targets), kept, strict=True):
            variable.assign(weight)
        # What a layer computes of its weights once, as an adapted Normalization does.
        for part in plain._flatten_layers():
            part.finalize_state()
    return stripped


def _without(weights: list[tf.Variable], some: list[tf.Variable]) -> list[tf.Variable]:
    return [weight for weight in weights if not any(weight is each for each in some)]


def _require_ours(wrapper: keras.layers.Layer) -> None:
    weights = all(
        isinstance(quantizer, KernelQuantizer) for _, quantizer, _ in wrapper._weight_vars
    )
    ours = (OutputQuantizer, GradientRounding)
    outputs = all(isinstance(quantizer, ours) for quantizer in wrapper._output_quantizers)
    if not (weights and outputs) or wrapper._quantize_activations:
        raise ValueError(
            f"strip_quantization needs layers that only tfqkd has quantized. Received: '{wrapper.name}' "
            f"with {wrapper.quantize_config}. Quantize the model with a tfqkd scheme, and annotate no "
            "layer with another config."
        )
