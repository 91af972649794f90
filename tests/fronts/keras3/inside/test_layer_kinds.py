"""Every kind of layer with kernels: trains, strips exactly, and comes back from a file."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.fronts.keras3.inside.nets import array, cross_entropy, same_outputs, same_weights
from tfqkd.core.schemes import TernaryScheme
from tfqkd.fronts import keras3


def images():
    x = inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(4, 3, padding="same", name="conv")(x)
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.SeparableConv2D(4, 2, name="separable")(x)
    x = layers.Conv2DTranspose(3, 2, name="transpose")(x)
    x = layers.Flatten()(x)
    return keras.Model(inputs, layers.Dense(3, name="dense")(x)), 6


def series():
    x = inputs = keras.Input((6, 4))
    x = layers.Conv1D(4, 3, padding="same", name="conv")(x)
    x = layers.DepthwiseConv1D(3, name="depthwise")(x)
    x = layers.SeparableConv1D(4, 2, name="separable")(x)
    x = layers.Conv1DTranspose(4, 2, name="transpose")(x)
    x = layers.EinsumDense("abc,cd->abd", (None, 4), name="einsum")(x)
    return keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling1D()(x))), 7


def volumes():
    x = inputs = keras.Input((4, 4, 4, 1))
    x = layers.Conv3D(2, 2, name="conv")(x)
    x = layers.Conv3DTranspose(2, 2, name="transpose")(x)
    return keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x))), 3


def attention():
    words = keras.Input((5,), dtype="int32")
    x = layers.Embedding(7, 4, mask_zero=True, name="embedding")(words)
    x = x + layers.MultiHeadAttention(2, 3, name="heads")(x, value=x)
    x = x + layers.GroupQueryAttention(3, 2, 1, name="groups")(query=x, value=x)
    return keras.Model(words, layers.Dense(3)(layers.GlobalAveragePooling1D()(x))), 10


def recurrent():
    x = inputs = keras.Input((3, 4))
    x = layers.LSTM(2, return_sequences=True, name="lstm")(x)
    x = layers.Bidirectional(layers.GRU(2), name="both")(x)
    return keras.Model(inputs, layers.Dense(3)(x)), 7


KINDS = [
    images,
    *(
        pytest.param(kind, marks=pytest.mark.slow)
        for kind in (attention, series, volumes, recurrent)
    ),
]


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.__name__)
def trained(request):
    keras.utils.set_random_seed(3)
    model, kernels = request.param()
    quantized = keras3.quantize_model(model, TernaryScheme("channel", "every_step"), layers=".*")
    random = np.random.default_rng(0)
    shape = (8, *model.input_shape[1:])
    whole = "int" in str(model.inputs[0].dtype)
    inputs = random.integers(0, 7, shape) if whole else random.normal(size=shape).astype("float32")
    quantized.compile(keras.optimizers.SGD(0.1), cross_entropy())
    quantized.fit(inputs, random.integers(0, 3, 8), batch_size=8, verbose=0)
    return model, quantized, kernels, inputs


def test_all_kernels_are_ternary_and_train(trained):
    model, quantized, count, _ = trained
    found = list(keras3.quantized_kernels(quantized))
    assert len(found) == count
    before = {variable.path: array(variable.value) for variable in model.weights}
    for kernel in found:
        value, step = array(kernel.value()), array(kernel.scales())
        codes = np.divide(value, step, out=np.zeros_like(value), where=step > 0)
        assert set(np.unique(codes)) <= {-1.0, 0.0, 1.0}
        assert np.any(array(kernel.latent.value) != before[kernel.latent.path]), kernel


def test_a_channel_has_a_step_of_its_own(trained):
    for kernel in keras3.quantized_kernels(trained[1]):
        shape, step = kernel.latent.shape, kernel.state["step"].shape
        axes = {
            "attention_output/kernel": (2,),
            "query/kernel": (1, 2),
            "key/kernel": (1, 2),
            "value/kernel": (1, 2),
            "depthwise_kernel": (len(shape) - 2, len(shape) - 1),
        }.get(kernel.attribute, (len(shape) - 1,))
        if kernel.layer == "depthwise":
            axes = (len(shape) - 2, len(shape) - 1)
        if kernel.layer == "transpose":
            axes = (len(shape) - 2,)
        assert tuple(step) == tuple(n if i in axes else 1 for i, n in enumerate(shape)), kernel


def test_stripped_kernels_are_the_quantized_ones_bit_for_bit(trained):
    _, quantized, _, inputs = trained
    stripped = keras3.strip_quantization(quantized)
    values = {
        kernel.latent.path: array(kernel.value()) for kernel in keras3.quantized_kernels(quantized)
    }
    plain = {variable.path: array(variable.value) for variable in stripped.weights}
    for path, value in values.items():
        np.testing.assert_array_equal(plain[path], value)
    assert not any(isinstance(layer, keras3.QuantizedLayer) for layer in stripped.layers)
    same_outputs(quantized, stripped, inputs)


def test_layers_and_variables_keep_their_names(trained):
    model, quantized, _, _ = trained
    assert [layer.name for layer in quantized.layers] == [layer.name for layer in model.layers]
    assert {variable.path for variable in model.weights} <= {v.path for v in quantized.weights}
    assert quantized.output_names == model.output_names


def test_a_file_gives_the_same_model_back(trained, tmp_path):
    _, quantized, _, inputs = trained
    quantized.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    same_weights(quantized, loaded)
    np.testing.assert_array_equal(array(quantized(inputs)), array(loaded(inputs)))
    stripped = keras3.strip_quantization(loaded)
    stripped.save(tmp_path / "stripped.keras")
    same_weights(stripped, keras.models.load_model(tmp_path / "stripped.keras"))
