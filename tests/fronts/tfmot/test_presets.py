import numpy as np
import pytest

from tfqkd.compat import keras
from tfqkd.fronts.tfmot.model import quantize_model, quantized_kernels
from tfqkd.recipe.quantize import WEIGHT_QUANTIZERS
from tfqkd.recipe.recipe import Recipe
from tfqkd.training.presets import Comparison
from tfqkd.training.quantization import scheme_of

NAMES = ["no teacher", "teacher, fixed coefficient", "teacher, annealed coefficient"]


@pytest.mark.parametrize("controls", [False, True])
@pytest.mark.parametrize(
    ("quantizer", "bits"),
    [
        *((quantizer, bits) for quantizer in WEIGHT_QUANTIZERS for bits in (2, 32)),
        *((quantizer, 4) for quantizer in ("uniform", "lsq", "dorefa")),
    ],
)
def test_the_rows_are_named_by_the_levels_of_their_weights(quantizer, bits, controls):
    recipe = Recipe(bits=bits, quantizer=quantizer)
    weights = np.random.default_rng(0).normal(size=(30, 40)).astype(np.float32)
    kind = "float"
    if bits < 32:
        dense = keras.Sequential([keras.Input((30,)), keras.layers.Dense(40, use_bias=False)])
        dense.set_weights([weights])
        (kernel,) = quantized_kernels(quantize_model(dense, scheme_of(recipe), ".*"))
        levels = len(np.unique(kernel.value()))
        kind = "ternary" if levels == 3 else f"{bits}-bit"
        assert levels <= 2**bits
    names = [stage.label for stage in Comparison(controls)(recipe)[2:]]
    middle = ["no teacher", *(["teacher's term off"] if controls else []), *NAMES[1:]]
    before = ["float, no teacher"] if controls and bits < 32 else []
    assert names == [*before, *(f"{kind}, {name}" for name in middle)]
    assert recipe.title == f"{kind} student, gradual coefficient"
