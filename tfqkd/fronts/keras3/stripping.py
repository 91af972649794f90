"""Plain models for deployment, with the quantized values as their kernels."""

import keras

from tfqkd.fronts.keras3.cloning import clone, copied
from tfqkd.fronts.keras3.fused_batch_norm import plain_class
from tfqkd.fronts.keras3.layers import ActivationQuantization
from tfqkd.fronts.keras3.model import wrappers
from tfqkd.fronts.keras3.wrapper import QuantizedLayer


def strip_quantization(model: keras.Model) -> keras.Model:
    """Returns the plain Keras model with the quantized values as its kernels, bit for bit.

    Its outputs are those of `model` at inference: bit for bit on TensorFlow; XLA, and so JAX, computes the
    two graphs in other orders, which changes the last bits of an output. It needs Keras alone, unless
    activations are quantized: each stays as a layer `<layer>_quantization` with the trained step
    (`layers.ActivationQuantization`), and such a model loads where `tfqkd.keras3` is imported.

    Args:
        model: A model that `quantize_model` made; a float model is copied.
    """
    return _stripped(model, activations=True)


def strip_weights(model: keras.Model) -> keras.Model:
    """Returns the plain Keras model with the quantized values as its kernels and float activations.

    Args:
        model: As for `strip_quantization`.
    """
    return _stripped(model, activations=False)


def _stripped(model: keras.Model, activations: bool) -> keras.Model:
    behind = {
        id(wrapper): ActivationQuantization(
            wrapper.quantized_output.step,
            *wrapper.quantized_output.quantizer.code_range(),
            name=f"{wrapper.name}_quantization",
            dtype=wrapper.dtype_policy,
        )
        for _, wrapper in wrappers(model)
        if activations and wrapper.quantized_output
    }

    def stripped(layer: keras.layers.Layer) -> keras.layers.Layer:
        if not isinstance(layer, QuantizedLayer):
            return copied(layer, plain_class(layer))
        plain = copied(layer.layer, plain_class(layer.layer))
        twins = {id(v): twin for v, twin in zip(layer.layer.weights, plain.weights, strict=True)}
        for held in layer.quantized:
            twins[id(held.kernel.variable)].assign(held.value())
        return plain

    return clone(model, stripped, behind)
