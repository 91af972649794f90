"""What goes with a training: gradual quantization, batch norm measured anew, averages, replicas."""

import contextlib

import keras
import numpy as np
import pytest

from tests.core import reference
from tests.fronts.keras3.inside.nets import BACKEND, array, batch, cross_entropy, perceptron
from tfqkd.core.activations import LsqActivationQuantizer
from tfqkd.core.gradual import GradualQuantizer
from tfqkd.core.policy import Bits
from tfqkd.core.quantizers import UniformQuantizer
from tfqkd.core.schedulers import CoefficientScheduler
from tfqkd.core.schedules import Linear
from tfqkd.core.schemes import Scheme, TernaryScheme, UniformScheme
from tfqkd.fronts import keras3
from tfqkd.fronts.keras3.replicas import copies
from tfqkd.fronts.keras3.state import State
from tfqkd.fronts.keras3.strategy import make_strategy
from tfqkd.fronts.trainer import ForeignStateError


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
    # Keras puts the averages in strategy at the end of `fit`; the step stays that of the start.
    assert np.any(array(kernel.latent.value) != watch.latent[-1])
    values = array(kernel.value())
    assert len(np.unique(np.abs(values))) <= 2


def test_every_row_of_the_sensitivity_equals_numpy():
    model = perceptron(batch_norm=False)
    inputs, labels = batch(20)
    weights = {layer.name: layer.get_weights() for layer in model.layers if layer.weights}

    def figures(changed):
        x = inputs
        for name in ("a", "b", "logits"):
            x = x @ changed[name] + weights[name][1]
            x = x if name == "logits" else np.maximum(x, 0)
        logits = x.astype(np.float64)
        losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(20), labels]
        return losses.mean(), np.mean(logits.argmax(axis=1) == labels)

    found = keras3.sensitivity(
        model, (inputs, labels), UniformScheme(2), bits=(2, 4), layers="[ab]", print_fn=None
    )
    kernels = {name: kernel for name, (kernel, _) in weights.items()}
    assert (found.loss, found.accuracy) == pytest.approx(figures(kernels), rel=1e-5)
    assert [(row.layer, row.bits) for row in found.rows] == [
        (name, Bits(bits)) for name in "ab" for bits in (2, 4)
    ]
    for row in found.rows:
        changed = kernels | {row.layer: reference.quantized(kernels[row.layer], row.bits.weights)}
        assert (row.loss, row.accuracy) == pytest.approx(figures(changed), rel=1e-4)
        assert row.packed_bytes == kernels[row.layer].size * row.bits.weights // 8 + 4
    assert found.float_bytes == {name: 4 * kernels[name].size for name in "ab"}
    assert found.other_bytes == 4 * model.count_params() - sum(found.float_bytes.values())
    quantized = keras3.quantize_model(model, UniformScheme(2), found.propose(500))
    assert keras3.quantization_summary(quantized, print_fn=None).packed_bytes <= 500


@pytest.mark.slow
def test_sensitivity_settles_activations_and_batch_norm_first():
    scheme = Scheme(UniformQuantizer(8), LsqActivationQuantizer(8))
    data = batch(32)
    model = perceptron()
    options = {"bits": (8,), "layers": "logits", "print_fn": None}
    settled = keras3.sensitivity(model, data, scheme, calibration=data, **options)
    keras3.reestimate_batch_norm(model, data)
    model.get_layer("norm").trainable = False
    frozen = keras3.sensitivity(model, data, scheme, calibration=data, **options)
    assert settled.rows[0].loss == pytest.approx(frozen.rows[0].loss, rel=1e-3)
    assert settled.rows[0].loss != pytest.approx(settled.loss, rel=1e-3)


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


@contextlib.contextmanager
def two_devices():
    """Yields a context to make models in; they are trained on two devices within."""
    if BACKEND == "torch":
        pytest.skip("Keras distributes on TensorFlow and JAX.")
    strategy = make_strategy("mirrored", 2, jit_compile=False)
    if BACKEND == "tensorflow":
        yield strategy.scope
        return
    with strategy.scope():
        assert len(keras.distribution.list_devices()) == 2
        yield contextlib.nullcontext


def test_two_devices_train_as_one():
    weights, logs = distilled(contextlib.nullcontext)
    with two_devices() as begin:
        both, both_logs = distilled(begin)
    for one, two in zip(weights, both, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)
    for name, values in logs.items():
        np.testing.assert_allclose(values, both_logs[name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("synchronized", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_batch_norms_averages_are_equal_on_two_devices(synchronized):
    with two_devices() as begin:
        with begin():
            inputs = keras.Input((6,))
            x = keras.layers.Dense(4, use_bias=False, name="a")(inputs)
            norm = keras.layers.BatchNormalization(
                momentum=0.5, synchronized=synchronized and BACKEND == "tensorflow", name="norm"
            )
            outputs = keras.layers.Dense(3, name="logits")(norm(x))
            student = keras3.quantize_model(keras.Model(inputs, outputs), layers="a")
            distiller = keras3.Distiller(
                student=student, teacher=perceptron("teacher", batch_norm=False)
            )
            distiller.compile(keras.optimizers.SGD(0.0), cross_entropy())
        data, labels = batch(24)
        distiller.fit(data, labels, batch_size=8, epochs=1, shuffle=False, verbose=0)
        norm = student.get_layer("norm")
        held = [copies(distiller, v) for v in (norm.moving_mean, norm.moving_variance)]
        (kernel,) = keras3.quantized_kernels(student)
        seen = data @ array(kernel.value())
    # A replica of TensorFlow normalizes its half of a batch, unless it is synchronized; JAX the whole batch.
    parts = 2 if BACKEND == "tensorflow" and not synchronized else 1
    mean, variance = np.zeros(4), np.ones(4)
    for step in range(3):
        pieces = np.split(seen[8 * step : 8 * step + 8], parts)
        mean = 0.5 * mean + 0.5 * np.mean([piece.mean(axis=0) for piece in pieces], axis=0)
        variance = 0.5 * variance + 0.5 * np.mean([p.var(axis=0) for p in pieces], axis=0)
    for replicas, expected in zip(held, (mean, variance), strict=True):
        assert len(replicas) == (2 if BACKEND == "tensorflow" else 1)
        for replica in replicas:
            np.testing.assert_allclose(replica, expected, rtol=1e-4, atol=1e-5)
            np.testing.assert_array_equal(replica, replicas[0])


def begun(width=3, *more):
    """A compiled network with seeds of random layers, slots and a step, and its state."""
    # As a process of its own names them.
    keras.utils.clear_session(free_memory=False)
    made = [keras.layers.Dense(width), keras.layers.Dropout(0.5), *more, keras.layers.Dense(2)]
    model = keras.Sequential([keras.Input((4,)), *made])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    model.optimizer.build(model.trainable_variables)
    return model, State(model, [model], model.optimizer)


def test_a_state_is_read_as_it_was_written(tmp_path):
    (one, written), (other, read) = begun(), begun()
    one.fit(np.ones((4, 4)), np.ones((4, 2)), batch_size=2, verbose=0)
    written.write(tmp_path)
    read.read(tmp_path)
    pairs = zip(
        [*one.variables, *one.optimizer.variables],
        [*other.variables, *other.optimizer.variables],
        strict=True,
    )
    for kept, found in pairs:
        np.testing.assert_array_equal(array(found), array(kept))
    assert int(array(other.optimizer.iterations)) == 2
    assert read.damage(tmp_path, has_averages=False) == ""


def test_a_state_of_another_training_is_refused(tmp_path):
    _, state = begun()
    for made, said in (
        (begun(5), r"of shape \(4, 5\), not \(4, 3\)"),
        (begun(3, keras.layers.BatchNormalization()), "other variables: "),
    ):
        made[1].write(tmp_path)
        with pytest.raises(ForeignStateError, match=said):
            state.read(tmp_path)
    np.savez(tmp_path / "state.npz", names=np.array(["kernel"]))
    with pytest.raises(ForeignStateError, match="of another tfqkd"):
        state.read(tmp_path)
