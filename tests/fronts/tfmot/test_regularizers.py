"""Regularizers of a layer's output: what they add to the loss is that of the layer with quantized kernels."""

import numpy as np
import pytest

from tfqkd.compat import keras, tf
from tfqkd.core.activations import LsqActivationQuantizer
from tfqkd.core.quantizers import LsqQuantizer, UniformQuantizer
from tfqkd.core.schemes import Scheme
from tfqkd.fronts.tfmot.distiller import Distiller
from tfqkd.fronts.tfmot.kernels import kernels_of
from tfqkd.fronts.tfmot.model import quantize_model
from tfqkd.fronts.tfmot.stripping import strip_quantization

layers = keras.layers
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
SCHEMES = {
    "weights": Scheme(UniformQuantizer(2)),
    "activations": Scheme(LsqQuantizer(3), LsqActivationQuantizer(3)),
}
KINDS = {
    "dense": (layers.Dense(4), (6,)),
    "conv1d": (layers.Conv1D(4, 3, activation="relu"), (6, 2)),
    "conv2d": (layers.Conv2D(4, 3), (5, 5, 2)),
    "conv3d": (layers.Conv3D(2, 2), (3, 3, 3, 2)),
    "transposed1d": (layers.Conv1DTranspose(3, 2), (4, 2)),
    "transposed2d": (layers.Conv2DTranspose(3, 2), (4, 4, 2)),
    "transposed3d": (layers.Conv3DTranspose(2, 2), (2, 2, 2, 2)),
    "depthwise1d": (layers.DepthwiseConv1D(3), (6, 2)),
    "depthwise2d": (layers.DepthwiseConv2D(3), (5, 5, 2)),
    "separable1d": (layers.SeparableConv1D(3, 3), (6, 2)),
    "separable2d": (layers.SeparableConv2D(3, 3), (5, 5, 2)),
    # Without a kernel: wrapped where what they put out is quantized.
    "layer of its own": (layers.ActivityRegularization(l2=0.01), (6,)),
    "batch norm": (layers.BatchNormalization(), (6,)),
}


def network(kind, regularizer):
    """The layer of the kind between a float layer that only moves values and two dense ones."""
    keras.utils.set_random_seed(0)
    layer, shape = KINDS[kind]
    settings = {**layer.get_config(), "name": "regularized"}
    layer = type(layer).from_config(settings)
    if kind != "layer of its own":
        layer.activity_regularizer = regularizer
    stack = [layer, layers.Flatten(), layers.Dense(5, name="read"), layers.Dense(3, name="head")]
    return keras.Sequential([keras.Input(shape), layers.Reshape(shape), *stack])


def penalty(model, batch):
    """The closed form of the L2 regularizer, of what the layer itself puts out in a plain model."""
    output = keras.Model(model.inputs, model.get_layer("regularized").output)(batch).numpy()
    return 0.01 * np.sum(np.square(output, dtype=np.float64)) / len(batch)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_of_an_output_is_that_of_the_layer_itself(kind, scheme):
    model = network(kind, keras.regularizers.L2(0.01))
    chosen = [name for name in ("regularized", "read") if kernels_of(model.get_layer(name))]
    quantized = quantize_model(model, SCHEMES[scheme], layers=chosen)
    batch = np.random.default_rng(1).normal(size=(4, *quantized.input_shape[1:])).astype(np.float32)
    stripped = strip_quantization(quantized)
    expected = penalty(stripped, batch)
    assert expected > 1e-3
    for model in (quantized, stripped):
        model(batch, training=False)
        np.testing.assert_allclose(sum(model.losses), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("scheme", "distilled"),
    [
        ("activations", False),
        ("weights", True),
        pytest.param("weights", False, marks=pytest.mark.slow),
        pytest.param("activations", True, marks=pytest.mark.slow),
    ],
)
def test_training_minimizes_it_within_a_function(scheme, distilled):
    regularizer = keras.regularizers.L2(0.01)
    model = quantize_model(
        network("dense", regularizer), SCHEMES[scheme], layers="regularized|read"
    )
    batch = np.random.default_rng(1).normal(size=(8, 6)).astype(np.float32)
    labels = np.arange(8) % 3
    trained = model
    if distilled:
        trained = Distiller(student=model, teacher=network("dense", None), coefficient=0.0)
    trained.compile(keras.optimizers.SGD(0.1), LOSS)
    before = penalty(strip_quantization(model), batch)
    expected = float(LOSS(labels, model(batch))) + before
    history = trained.fit(batch, labels, epochs=20, batch_size=8, verbose=0).history["loss"]
    assert history[0] == pytest.approx(expected, rel=1e-5)
    after = penalty(strip_quantization(model), batch)
    measured = trained.evaluate(batch, labels, return_dict=True, verbose=0)["loss"]
    assert measured == pytest.approx(float(LOSS(labels, model(batch))) + after, rel=1e-5)


def test_a_layer_that_is_called_twice_is_regularized_twice():
    shared = layers.Dense(6, activity_regularizer=keras.regularizers.L1(0.5), name="shared")
    inputs = keras.Input((6,))
    first = shared(inputs)
    model = keras.Model(inputs, [first, shared(first)])
    quantized = quantize_model(model, layers="shared")
    batch = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    outputs = tf.function(lambda: (quantized(batch, training=True), tf.add_n(quantized.losses)))()
    expected = 0.5 * sum(np.abs(output).sum() for output in outputs[0]) / 4
    np.testing.assert_allclose(outputs[1], expected, rtol=1e-5)
