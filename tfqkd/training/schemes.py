"""The quantization scheme of a recipe."""

from collections.abc import Callable

from tfqkd.core.activations import LsqActivationQuantizer, PactQuantizer
from tfqkd.core.gradual import GradualQuantizer
from tfqkd.core.quantizer import WeightQuantizer
from tfqkd.core.quantizers import (
    DorefaQuantizer,
    LsqQuantizer,
    TtqQuantizer,
    TwnQuantizer,
    UniformQuantizer,
)
from tfqkd.core.schemes import Scheme
from tfqkd.training.recipe import Recipe
from tfqkd.training.settings import FLOAT_BITS


def scheme_of(recipe: Recipe) -> Scheme:
    """Returns what a recipe quantizes layers with."""
    bits = recipe.bits
    gradient_bits = None if recipe.gradient_bits == FLOAT_BITS else recipe.gradient_bits
    weights: dict[str, Callable[[], WeightQuantizer]] = {
        "uniform": lambda: UniformQuantizer(bits, recipe.granularity, recipe.step_update),
        "twn": TwnQuantizer,
        "ttq": TtqQuantizer,
        "lsq": lambda: LsqQuantizer(bits, recipe.granularity),
        "dorefa": lambda: DorefaQuantizer(bits, gradient_bits),
    }
    activations = {"lsq": LsqActivationQuantizer, "pact": PactQuantizer}
    quantized = recipe.activation_bits != FLOAT_BITS
    quantizer = weights[recipe.quantizer]()
    if recipe.gradual_bits or recipe.gradual_share:
        by_share = bool(recipe.gradual_share)
        quantizer = GradualQuantizer(quantizer, recipe.gradual_widths(), by_share)
    return Scheme(
        quantizer,
        activations[recipe.activation_quantizer](recipe.activation_bits) if quantized else None,
    )
