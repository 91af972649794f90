"""Weights that are found by gradients: their ratio, the step at which they are found, replicas."""

import keras
import numpy as np
import pytest

from tests.fronts.keras3.inside.nets import BACKEND, array, batch, cross_entropy, perceptron
from tests.fronts.keras3.inside.test_training import two_devices
from tfqkd.core.schedules import Linear
from tfqkd.fronts.keras3 import Distiller
from tfqkd.fronts.terms import Term


def by_hand(weights, inputs, labels):
    """The gradients of cross-entropy and of the mean square of the hidden layer, of two linear layers."""
    first, first_bias, second, second_bias = map(np.float64, weights)
    hidden = inputs @ first + first_bias
    logits = hidden @ second + second_bias
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    by_logits = exponentials / exponentials.sum(axis=1, keepdims=True) - np.eye(3)[labels]
    by_logits /= len(inputs)
    hard = inputs.T @ (by_logits @ second.T), (by_logits @ second.T).sum(axis=0)
    by_hidden = 2 * hidden / hidden.size
    return hard, (inputs.T @ by_hidden, by_hidden.sum(axis=0))


def norm(gradients):
    return np.sqrt(sum(np.sum(each**2) for each in gradients))


def two_layers():
    inputs = keras.Input((6,))
    hidden = keras.layers.Dense(4, name="hidden", bias_initializer="normal")(inputs)
    return keras.Model(inputs, keras.layers.Dense(3, name="logits")(hidden))


def size(seen):
    return seen.ops.mean(seen.student_taps[0] ** 2, axis=-1)


def compiled(student, *terms):
    """A distiller of terms alone, which learns nothing."""
    settings = {"teacher": None, "coefficient": 0.0, "soft_loss": "none"}
    distiller = Distiller(student=student, terms=terms, **settings)
    distiller.compile(keras.optimizers.SGD(0.0), cross_entropy())
    return distiller


def fitted(distiller, epochs=2):
    options = {"batch_size": 16, "epochs": epochs, "shuffle": False, "verbose": 0}
    return distiller.fit(*batch(16), **options).history


def test_the_gradient_of_the_weighted_loss_is_the_ratio_of_the_hard_ones():
    """Over the hidden layer, which both losses reach, and not over the logits."""
    student = two_layers()
    hard, loss = by_hand(student.get_weights(), *batch(16))
    term = Term("size", size, "balanced:0.5", Linear(1.0, 0.0), student_taps=("hidden",))
    logs = fitted(compiled(student, term), epochs=3)
    expected = 0.5 * norm(hard) / norm(loss)
    np.testing.assert_allclose(logs["size_weight"], [expected] * 3, rtol=1e-4)
    rest = np.array(logs["loss"]) - logs["hard_loss"]
    wanted = expected * np.array(logs["size"]) * [1.0, 0.5, 0.0]
    np.testing.assert_allclose(rest, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_two_devices_find_it():
    """On JAX by the gradient of the whole batch; on TensorFlow by the mean of the replicas' squares."""
    with two_devices() as begin:
        with begin():
            student = two_layers()
            term = Term("size", size, "balanced:0.5", student_taps=("hidden",))
            distiller = compiled(student, term)
        inputs, labels = batch(16)
        halves = [slice(0, 8), slice(8, 16)] if BACKEND == "tensorflow" else [slice(0, 16)]
        parts = [by_hand(student.get_weights(), inputs[half], labels[half]) for half in halves]
        logs = fitted(distiller)
    hard, loss = (np.sum([norm(each) ** 2 for each in side]) for side in zip(*parts, strict=True))
    np.testing.assert_allclose(logs["size_weight"], [0.5 * np.sqrt(hard / loss)] * 2, rtol=1e-4)


@pytest.mark.slow
def test_the_soft_loss_is_balanced_too():
    student, teacher = perceptron(), perceptron("teacher")
    distiller = Distiller(
        student=student, teacher=teacher, soft_loss="kl", coefficient=0.5, soft_weight="balanced:2"
    )
    distiller.compile(keras.optimizers.SGD(0.1), cross_entropy())
    logs = fitted(distiller, epochs=3)
    assert logs["soft_loss_weight"][0] > 0
    assert len(set(logs["soft_loss_weight"])) == 1
    weighted = logs["soft_loss_weight"][0] * np.array(logs["soft_loss"])
    total = 0.5 * np.array(logs["hard_loss"]) + 0.5 * weighted
    np.testing.assert_allclose(logs["loss"], total, rtol=1e-5)


@pytest.mark.slow
def test_a_weight_is_found_at_the_first_step_with_a_gradient():
    """Until then it is 0; the others are found before."""
    student = two_layers()
    late = Term(
        "late", lambda seen: seen.inputs[:, 0] * size(seen), "balanced:1", student_taps=("hidden",)
    )
    early = Term("early", size, "balanced:1", student_taps=("hidden",))
    distiller = compiled(student, late, early)
    inputs, labels = batch(16)
    first = np.where(np.arange(6) == 0, 0.0, inputs)
    logs = [
        distiller.fit(shown, labels, batch_size=16, verbose=0).history
        for shown in (first, first, inputs, 2 * inputs)
    ]
    found = [each["late_weight"][0] for each in logs]
    assert found[:2] == [0.0, 0.0]
    assert found[2] == found[3] > 0
    assert len({each["early_weight"][0] for each in logs}) == 1
    assert logs[0]["early_weight"][0] > 0


@pytest.mark.slow
@pytest.mark.skipif(BACKEND == "jax", reason="a step on JAX shows no values")
def test_what_is_measured_is_what_the_step_computes_and_leaves_nothing_behind():
    """The same masks and statistics, and one step of batch norm's averages."""
    student = perceptron(dropout=0.5)
    term = Term("size", lambda seen: seen.ops.mean(seen.student**2, axis=-1), "balanced:1")
    distiller = compiled(student, term)
    distiller.run_eagerly = True
    measured, apart = [], distiller.losses_apart

    def look(data):
        measured.append({name: float(array(each)) for name, each in apart(data).items()})
        return apart(data)

    distiller.losses_apart = look
    moving = array(student.get_layer("norm").moving_mean)
    logs = fitted(distiller, epochs=1)
    for name in ("size", "hard_loss"):
        assert measured[0][name] == pytest.approx(logs[name][0], rel=1e-5)
    hidden = keras.Model(student.inputs, student.get_layer("b").output)
    mean = array(hidden(batch(16)[0])).mean(axis=0)
    moved = array(student.get_layer("norm").moving_mean)
    np.testing.assert_allclose(moved, 0.99 * moving + 0.01 * mean, rtol=1e-4, atol=1e-6)
