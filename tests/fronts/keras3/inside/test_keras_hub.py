"""Backbones of keras-hub, made from settings without a download, as students."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.fronts.keras3.inside.nets import array, cross_entropy, same_outputs, same_weights
from tfqkd.core.schemes import TernaryScheme
from tfqkd.fronts import keras3

pytestmark = pytest.mark.slow
hub = pytest.importorskip("keras_hub", reason="keras-hub is not installed")


def resnet():
    """A small ResNet with a head."""
    backbone = hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64, 8],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
        image_shape=(16, 16, 3),
    )
    x = layers.GlobalAveragePooling2D()(backbone.output)
    model = keras.Model(backbone.input, layers.Dense(3, name="logits")(x))
    return model, np.random.default_rng(0).normal(size=(8, 16, 16, 3)).astype("float32")


def gpt2():
    """A small transformer with a head: it reads words and a mask of them."""
    backbone = hub.models.GPT2Backbone(
        vocabulary_size=11,
        num_layers=2,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
        max_sequence_length=6,
    )
    x = layers.GlobalAveragePooling1D()(backbone.output)
    model = keras.Model(backbone.input, layers.Dense(3, name="logits")(x))
    words = np.random.default_rng(0).integers(0, 11, (8, 6))
    return model, {"token_ids": words, "padding_mask": np.ones((8, 6), "int32")}


@pytest.mark.parametrize("make", [resnet, gpt2], ids=["ResNet", "GPT2"])
def test_a_backbone_learns_from_its_float_self_with_ternary_kernels(make, tmp_path):
    model, inputs = make()
    quantized = keras3.quantize_model(model, TernaryScheme("channel"))
    kernels = list(keras3.quantized_kernels(quantized))
    assert len(kernels) > 4
    before = [array(kernel.latent.value) for kernel in kernels]
    distiller = keras3.Distiller(student=quantized, teacher=model)
    distiller.compile(keras.optimizers.SGD(0.1), cross_entropy())
    logs = distiller.fit(inputs, np.arange(8) % 3, batch_size=4, epochs=2, verbose=0).history
    assert np.isfinite(logs["loss"]).all()
    for kernel, old in zip(kernels, before, strict=True):
        assert np.any(array(kernel.latent.value) != old), kernel
        value, step = array(kernel.value()), array(kernel.scales())
        codes = np.divide(value, step, out=np.zeros_like(value), where=step > 0)
        assert set(np.unique(codes)) <= {-1.0, 0.0, 1.0}
    stripped = keras3.strip_quantization(quantized)
    same_outputs(quantized, stripped, inputs)
    quantized.save(tmp_path / "student.keras")
    same_weights(quantized, keras.models.load_model(tmp_path / "student.keras"))
