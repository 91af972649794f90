"""What goes with a training: gradual quantization, batch norm measured anew, averages, replicas."""

import keras
import numpy as np
import pytest

from tests.fronts.keras3.inside.nets import BACKEND, array, batch, cross_entropy, perceptron
from tfqkd.core.gradual import GradualQuantizer
from tfqkd.core.quantizers import UniformQuantizer
from tfqkd.core.schedulers import CoefficientScheduler
from tfqkd.core.schedules import Linear
from tfqkd.core.schemes import Scheme, TernaryScheme
from tfqkd.fronts import keras3


class Watch(keras.callbacks.Callback):
    """How many values the kernel takes at the end of each epoch, and its latent weights."""

    def __init__(self):
        super().__init__()
        self.values, self.latent = [], []

    def on_epoch_end(self, epoch, logs=None):
        (kernel,) = keras3.quantized_kernels(self.model)
        self.values.append(array(kernel.value()))
        self.latent.append(array(kernel.latent.value))


def trained(model, epochs, callbacks, optimizer="sgd", count=16):
    model.compile(optimizer, cross_entropy())
    return model.fit(*batch(count), batch_size=4, epochs=epochs, callbacks=callbacks, verbose=0)


def test_widths_fall_during_training():
    scheme = Scheme(GradualQuantizer(UniformQuantizer(2), wider=(4, 3)))
    quantized = keras3.quantize_model(perceptron(), scheme)
    watch = Watch()
    trained(quantized, 3, [keras3.GradualQuantization(), watch])
    largest = [len(np.unique(np.abs(values))) for values in watch.values]
    assert [n <= limit for n, limit in zip(largest, (8, 4, 2), strict=True)] == [True] * 3
    assert largest[0] > largest[1] > largest[2]


def test_weights_that_are_quantized_rest_until_all_are():
    scheme = Scheme(GradualQuantizer(UniformQuantizer(2), by_share=True))
    quantized = keras3.quantize_model(perceptron(), scheme)
    watch = Watch()
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    trained(quantized, 3, [keras3.GradualQuantization((0.5, 0.75)), watch], optimizer)
    moved = [np.mean(a != b) for a, b in zip(watch.latent[:-1], watch.latent[1:], strict=True)]
    assert moved[0] == pytest.approx(0.25, abs=0.02)
    assert moved[1] > 0.9
    assert len(np.unique(np.abs(watch.values[0]))) > 20
    assert len(np.unique(np.abs(watch.values[2]))) <= 2


def test_gradual_quantization_needs_something_gradual():
    with pytest.raises(ValueError, match="needs a model with gradual quantizers"):
        trained(keras3.quantize_model(perceptron()), 1, [keras3.GradualQuantization()])


def test_batch_norm_is_measured_anew():
    quantized = keras3.quantize_model(perceptron(), layers="b")
    inputs, labels = batch(32)
    keras3.reestimate_batch_norm(
        quantized, [(inputs[:16], labels[:16]), (inputs[16:], labels[16:])]
    )
    before = keras.Model(quantized.inputs, quantized.get_layer("b").output)
    seen = array(before(inputs)).astype("float64")
    norm = quantized.get_layer("norm")
    np.testing.assert_allclose(array(norm.moving_mean.value), seen.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(array(norm.moving_variance.value), seen.var(axis=0), rtol=1e-4)
    norm.trainable = False
    with pytest.raises(ValueError, match="must have some that is trainable"):
        keras3.reestimate_batch_norm(quantized, inputs)


def test_keras_averages_the_latent_weights():
    quantized = keras3.quantize_model(perceptron(), TernaryScheme())
    optimizer = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)
    watch = Watch()
    trained(quantized, 1, [watch], optimizer)
    (kernel,) = keras3.quantized_kernels(quantized)
    # Keras puts the averages in place at the end of `fit`; the step stays that of the start.
    assert np.any(array(kernel.latent.value) != watch.latent[-1])
    values = array(kernel.value())
    assert len(np.unique(np.abs(values))) <= 2


def distilled(begin):
    """The student's weights and the logs of a training; `begin` is entered before models are made."""
    with begin():
        keras.utils.set_random_seed(6)
        student = keras3.quantize_model(perceptron(batch_norm=False), TernaryScheme())
        teacher = perceptron("teacher", batch_norm=False)
        distiller = keras3.Distiller(student=student, teacher=teacher)
        distiller.compile(keras.optimizers.SGD(0.1), cross_entropy(), ["accuracy"])
    inputs, labels = batch(32)
    logs = distiller.fit(
        inputs,
        labels,
        batch_size=8,
        epochs=2,
        shuffle=False,
        verbose=0,
        callbacks=[CoefficientScheduler(Linear(1.0, 0.0), on="step")],
    ).history
    return student.get_weights(), logs


def test_two_devices_train_as_one():
    import contextlib

    if BACKEND == "torch":
        pytest.skip("Keras distributes on TensorFlow and JAX.")
    weights, logs = distilled(contextlib.nullcontext)
    if BACKEND == "jax":
        keras.distribution.set_distribution(keras.distribution.DataParallel())
        try:
            assert len(keras.distribution.list_devices()) == 2
            both, both_logs = distilled(contextlib.nullcontext)
        finally:
            keras.distribution.set_distribution(None)
    else:
        import tensorflow as tf

        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        both, both_logs = distilled(strategy.scope)
    for one, two in zip(weights, both, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)
    for name, values in logs.items():
        np.testing.assert_allclose(values, both_logs[name], rtol=1e-4, atol=1e-5, err_msg=name)
