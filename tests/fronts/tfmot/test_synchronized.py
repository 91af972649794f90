import numpy as np

from tfqkd.compat import keras
from tfqkd.core.schemes import TernaryScheme
from tfqkd.fronts.tfmot.model import quantize_model
from tfqkd.fronts.tfmot.stripping import strip_quantization
from tfqkd.fronts.tfmot.synchronized import synchronize_batch_norm
from tfqkd.models import build


def kinds(model):
    return [
        (module.synchronized, bool(module.fused))
        for module in model.submodules
        if isinstance(module, keras.layers.BatchNormalization)
    ]


def make():
    keras.utils.set_random_seed(0)
    return build("cnn2", (8, 8, 1), 10, mean=[78.0], std=[96.0])


def test_every_batch_norm_of_a_quantized_model_changes():
    model = quantize_model(make(), TernaryScheme())
    assert kinds(model) == [(False, True)] * 3
    assert synchronize_batch_norm(model) is model
    assert kinds(model) == [(True, False)] * 3


def test_what_is_stripped_is_plain_again():
    model = synchronize_batch_norm(quantize_model(make(), TernaryScheme()))
    assert kinds(strip_quantization(model)) == [(False, True)] * 3


def test_on_one_device_it_normalises_as_plain_batch_norm_does():
    images = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 1), np.uint8)
    plain, other = make(), synchronize_batch_norm(make())
    # In training: the moving variance that is kept differs by N/(N-1), which the fused kernel corrects for.
    np.testing.assert_allclose(
        other(images, training=True), plain(images, training=True), atol=1e-5
    )
