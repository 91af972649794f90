"""Models quantized as a front is asked to."""

from tfqkd.compat import keras
from tfqkd.core.gradual import GradualQuantizer
from tfqkd.fronts.settings import Quantization
from tfqkd.fronts.tfmot.flattening import flattened
from tfqkd.fronts.tfmot.gradual import GradualQuantization
from tfqkd.fronts.tfmot.model import quantize_model
from tfqkd.fronts.tfmot.model import require_quantizable as quantizable_layers
from tfqkd.fronts.tfmot.roundings import without_roundings
from tfqkd.fronts.tfmot.schemes import layer_configs


def quantize(model: keras.Model, quantization: Quantization) -> keras.Model:
    """Returns the quantized model."""
    return quantize_model(model, quantization.scheme, quantization.layers)


def require_quantizable(model: keras.Model, quantization: Quantization) -> None:
    """Raises ValueError if a model cannot be quantized so."""
    scheme = quantization.scheme
    bits = quantizable_layers(model, scheme, quantization.layers)
    layer_configs(scheme, without_roundings(flattened(model), scheme.bits.activations), bits)


def quantization_callbacks(quantization: Quantization) -> list[keras.callbacks.Callback]:
    """Returns the callbacks that the training of a model so quantized needs."""
    if isinstance(quantization.scheme.quantizer, GradualQuantizer):
        return [GradualQuantization(quantization.gradual_shares)]
    return []
