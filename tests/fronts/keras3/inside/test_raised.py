"""The student's second pass at more activation bits: what it says, what it leaves alone, what it draws."""

import contextlib
import dataclasses

import keras
import numpy as np
import pytest
from scipy.special import softmax

from tests.fronts.keras3.inside.nets import array, batch, cross_entropy, perceptron, same_weights
from tests.fronts.keras3.inside.test_terms import FRONT
from tests.fronts.keras3.inside.test_training import two_devices
from tfqkd.core.activations import LsqActivationQuantizer, PactQuantizer
from tfqkd.core.quantizers import UniformQuantizer
from tfqkd.core.schemes import Scheme
from tfqkd.fronts.keras3 import Distiller, quantize_model
from tfqkd.fronts.keras3.model import quantized_activations
from tfqkd.fronts.keras3.quantizer_state import second_pass
from tfqkd.fronts.keras3.second_pass import RaisedPass
from tfqkd.fronts.terms import Raised
from tfqkd.methods.speq import Speq

PACT = Scheme(UniformQuantizer(2), PactQuantizer(2))
LSQ = Scheme(UniformQuantizer(2), LsqActivationQuantizer(2))
ALONE = {"teacher": None, "coefficient": 0.0, "soft_loss": "none"}


def raised(student, bits, probability):
    inputs, _ = batch()
    return array(RaisedPass(Raised(bits, probability, 0), student)(inputs))


def trained(
    method, scheme=LSQ, begin=contextlib.nullcontext, epochs=1, regularizer=None, norm=True
):
    with begin():
        keras.utils.set_random_seed(6)
        net = perceptron(batch_norm=norm)
        net.get_layer("b").activity_regularizer = regularizer
        student = quantize_model(net, scheme)
        terms = method.terms(FRONT.network(student, None), [])
        distiller = Distiller(student=student, terms=terms, **ALONE)
        distiller.compile(keras.optimizers.SGD(0.05), cross_entropy())
    before = student.get_weights()
    options = {"batch_size": 16, "epochs": epochs, "shuffle": False, "verbose": 0}
    return student, before, distiller.fit(*batch(16), **options).history


def test_the_teacher_is_the_same_network_at_other_widths():
    student, finer = (
        quantize_model(perceptron(), dataclasses.replace(PACT, activations=PactQuantizer(bits)))
        for bits in (2, 8)
    )
    finer.set_weights(student.get_weights())
    before = [array(each) for each in student.variables]
    passes = [raised(student, *settings) for settings in ((8, 0.0), (2, 1.0), (8, 1.0))]
    # Nothing has moved: no average, no step, no random state.
    for variable, value in zip(student.variables, before, strict=True):
        np.testing.assert_array_equal(array(variable), value)
    inputs, _ = batch()
    own, others = (array(model(inputs, training=True)) for model in (student, finer))
    # No activation is raised, or to the width that it has: the student itself.
    for said, expected in zip(passes, (own, own, others), strict=True):
        np.testing.assert_allclose(said, expected, rtol=1e-5, atol=1e-6)
    assert np.abs(passes[2] - own).max() > 1e-3


@pytest.mark.slow
def test_each_activation_is_drawn_by_itself_as_often_as_asked():
    student = quantize_model(perceptron(batch_norm=False), PACT, ".*")
    learned = [each.learned for each in quantized_activations(student)]
    seen = []

    class Student:
        variables = ()

        def __call__(self, inputs, training):
            seen.append([bool(array(second_pass.get()(variable)[1])) for variable in learned])
            return keras.ops.zeros((1, 3))

    again = RaisedPass(Raised(8, 0.25, 3), student)
    again._student = Student()
    for _ in range(300):
        again(np.zeros((1, 6), np.float32))
    drawn = np.array(seen)
    np.testing.assert_allclose(drawn.mean(axis=0), [0.25, 0.25], atol=0.09)
    assert abs(np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1]) < 0.2
    assert second_pass.get() is None


def test_the_loss_is_the_cosine_of_the_two_passes():
    """The first step of a training, against NumPy; losses of layers count once."""
    method = Speq(weight=0.7, temperature=3.0, probability=1.0)
    regularizer = keras.regularizers.L2(0.01)
    student, before, logs = trained(method, regularizer=regularizer)
    student.set_weights(before)
    high = raised(student, 8, 1.0)
    low = array(student(batch(16)[0], training=True))
    penalty = sum(float(array(each)) for each in student.losses)
    p, q = (softmax(np.float64(logits) / 3.0, axis=-1) for logits in (high, low))
    cosine = np.sum(p * q, -1) / np.linalg.norm(p, axis=-1) / np.linalg.norm(q, axis=-1)
    assert logs["speq_loss"] == pytest.approx([np.mean(1 - cosine)], rel=1e-3)
    assert penalty > 1e-4
    total = logs["hard_loss"][0] + 0.7 * logs["speq_loss"][0] + penalty
    assert logs["loss"] == pytest.approx([total], rel=1e-5)


@pytest.mark.slow
def test_without_weight_it_is_the_plain_run_to_the_bit():
    plain, _, _ = trained(Speq(weight=0.0, probability=0.0), epochs=2)
    other, _, _ = trained(Speq(weight=0.0), epochs=2)
    same_weights(plain, other)


@pytest.mark.slow
def test_two_devices_train_as_one():
    # Replicas of TensorFlow take statistics of their own.
    one, _, _ = trained(Speq(weight=0.5), epochs=2, norm=False)
    with two_devices() as begin:
        both, _, _ = trained(Speq(weight=0.5), begin=begin, epochs=2, norm=False)
    for weight, other in zip(one.trainable_variables, both.trainable_variables, strict=True):
        np.testing.assert_allclose(array(weight), array(other), rtol=1e-3, atol=1e-4)
