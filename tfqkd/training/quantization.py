"""What a recipe quantizes, and how."""

from collections.abc import Callable

from tfqkd.core.activations import LsqActivationQuantizer, PactQuantizer
from tfqkd.core.composite import FloatQuantizer
from tfqkd.core.quantizer import WeightQuantizer
from tfqkd.core.quantizers import (
    AbsmeanQuantizer,
    DorefaQuantizer,
    LsqQuantizer,
    TtqQuantizer,
    TwnQuantizer,
    UniformQuantizer,
)
from tfqkd.core.schemes import DeployScheme, Scheme
from tfqkd.fronts.settings import Quantization
from tfqkd.recipe.layer_bits import bits_by_layer, bits_of_depthwise_layers
from tfqkd.recipe.recipe import Recipe
from tfqkd.recipe.setting import FLOAT_BITS


def quantization_of(recipe: Recipe) -> Quantization | None:
    """Returns how a recipe quantizes; None where weights are float, and no method holds them."""
    if recipe.quantize.is_float:
        return float_quantization_of(recipe)
    quantize = recipe.quantize
    # The first match counts.
    depthwise = bits_of_depthwise_layers(quantize, recipe.student.network)
    layers = {**bits_by_layer(quantize), **depthwise}
    return Quantization(scheme=scheme_of(recipe), layers=layers or None, gradual_shares=())


def float_quantization_of(recipe: Recipe) -> Quantization | None:
    """Returns what holds a mask or clusters on the float weights of a recipe; None without such methods."""
    if not {"pruning", "clustering"} & set(recipe.quantized.methods):
        return None
    return Quantization(scheme=Scheme(FloatQuantizer()), layers=None, gradual_shares=())


def scheme_of(recipe: Recipe) -> Scheme:
    """Returns what a recipe quantizes layers with."""
    quantize = recipe.quantize
    bits, granularity = quantize.bits, quantize.granularity
    weights: dict[str, Callable[[], WeightQuantizer]] = {
        "uniform": lambda: UniformQuantizer(bits, granularity, quantize.step_update),
        "twn": TwnQuantizer,
        "absmean": AbsmeanQuantizer,
        "ttq": TtqQuantizer,
        "lsq": lambda: LsqQuantizer(bits, granularity),
        "dorefa": lambda: DorefaQuantizer(bits),
    }
    activations = {"lsq": LsqActivationQuantizer, "pact": PactQuantizer}
    quantized = quantize.activation_bits != FLOAT_BITS
    quantizer = weights[quantize.quantizer]()
    if quantize.deploy:
        return DeployScheme(quantizer)
    return Scheme(
        quantizer,
        activations[quantize.activation_quantizer](quantize.activation_bits) if quantized else None,
    )
