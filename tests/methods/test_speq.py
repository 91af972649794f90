import dataclasses

import numpy as np
import pytest
from scipy.special import softmax

from methods.training_of import FITTING, Training, assert_same, data, network, resumed
from tfqkd.compat import tf
from tfqkd.core.activations import LsqActivationQuantizer, PactQuantizer
from tfqkd.core.quantizers import UniformQuantizer
from tfqkd.core.schemes import Scheme
from tfqkd.fronts.terms import Raised
from tfqkd.fronts.tfmot import front
from tfqkd.fronts.tfmot.activations import second_pass
from tfqkd.fronts.tfmot.model import quantized_activations
from tfqkd.fronts.tfmot.second_pass import RaisedPass
from tfqkd.methods.speq import Speq

PACT = Scheme(UniformQuantizer(2, step_update="every_step"), PactQuantizer(2))
LSQ = Scheme(UniformQuantizer(2), LsqActivationQuantizer(2))
IMAGES = data().train.images[:8]
ALL = {"layers": ".*"}


def raised(training, bits, probability, step=0):
    again = RaisedPass(Raised(bits, probability, 3), training.student)
    return again(tf.constant(IMAGES), tf.constant(step, tf.int64)).numpy()


@pytest.mark.parametrize("scheme", [PACT, LSQ])
def test_the_teacher_is_the_same_network_at_other_widths(scheme):
    training = Training((), scheme=scheme, **ALL)
    before = training.weights()
    own = training.student(IMAGES, training=True).numpy()
    training.student.set_weights(before)
    # No activation is raised, or to the width that it has: the student itself.
    np.testing.assert_array_equal(raised(training, 8, 0.0), own)
    np.testing.assert_array_equal(raised(training, 2, 1.0), own)
    assert np.abs(raised(training, 8, 1.0) - own).max() > 1e-3
    # Nothing has moved: no average, no step.
    assert_same(training.weights(), before)
    assert second_pass.get() is None


@pytest.mark.parametrize("quantizer", [PactQuantizer(2), LsqActivationQuantizer(2, signed=True)])
def test_a_raised_activation_keeps_its_largest_value_and_gets_a_finer_step(quantizer):
    scale = np.float32(0.7)
    finer, other = quantizer.with_bits(8, quantizer.signed), quantizer.scale_at(scale, 8)
    steps = [quantizer.step(scale), finer.step(other)]
    tops = [
        step * each.code_range()[1] for step, each in zip(steps, (quantizer, finer), strict=True)
    ]
    np.testing.assert_allclose(tops[0], tops[1], rtol=1e-6)
    assert steps[1] < steps[0] / 60
    assert quantizer.scale_at(scale, 2) == scale


def test_each_activation_is_drawn_by_itself_as_often_as_asked():
    training = Training((), scheme=LSQ, **ALL)
    learned = [each.learned for each in quantized_activations(training.student)]
    assert len(learned) >= 2
    seen = []
    again = RaisedPass(Raised(8, 0.25, 3), training.student)
    again._student = lambda inputs, training: (
        seen.append([bool(second_pass.get()(variable)[1]) for variable in learned])
        or tf.zeros((1, 3))
    )
    again._student.non_trainable_variables = again._student.submodules = ()
    for step in range(400):
        again(IMAGES, tf.constant(step, tf.int64))
    drawn = np.array(seen)
    np.testing.assert_allclose(drawn.mean(axis=0), 0.25, atol=0.08)
    correlation = np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1]
    assert abs(correlation) < 0.15


def test_the_loss_is_the_cosine_of_the_two_passes():
    """The first step of a training, against NumPy."""
    method = Speq(weight=0.7, temperature=3.0, probability=1.0)
    one_step = dataclasses.replace(FITTING, epochs=1, steps=1, batch_size=24)
    training = Training((method,), scheme=LSQ, fitting=one_step, **ALL)
    images = data().train.images
    before = training.weights()
    again = RaisedPass(Raised(8, 1.0, 0), training.student)
    high = again(tf.constant(images), tf.constant(0, tf.int64)).numpy()
    low = training.student(images, training=True).numpy()
    training.student.set_weights(before)
    p, q = (softmax(np.float64(logits) / 3.0, axis=-1) for logits in (high, low))
    cosine = np.sum(p * q, -1) / np.linalg.norm(p, axis=-1) / np.linalg.norm(q, axis=-1)
    logs = training.run().logs[0]
    assert logs["speq_loss"] == pytest.approx(np.mean(1 - cosine), rel=1e-4)
    assert logs["loss"] == pytest.approx(logs["hard_loss"] + 0.7 * logs["speq_loss"], rel=1e-5)


def test_the_hard_loss_may_share_its_weight():
    training = Training((Speq(weight=0.3, form="shared", loss="kl"),), scheme=LSQ, **ALL)
    logs = training.run().logs[0]
    total = logs["hard_loss"] + 0.3 * logs["speq_loss"]
    assert logs["loss"] == pytest.approx(total, rel=1e-5)
    assert -logs["hard_loss"] < logs["speq_loss"] < 0


# Quick for all methods together in test_every_method.py.
@pytest.mark.slow
def test_weight_zero_is_the_plain_training_bit_for_bit():
    with front.state_kept():
        weights = []
        for methods in ((), (Speq(weight=0.0),)):
            # As a stage begins: dropout then draws from a state of its own.
            front.start(3, "float32")
            how = {"teacher": network(2, 6), "distils": True, "dropout": True}
            training = Training(methods, scheme=PACT, **how, **ALL)
            training.run()
            weights.append(training.weights())
    assert_same(*weights)


def test_without_raised_activations_the_training_is_the_plain_one():
    """Probability 0 is the control: both passes say the same, and the angle has no slope there."""
    plain, control = (
        Training(methods, scheme=PACT) for methods in ((), (Speq(probability=0.0, weight=5.0),))
    )
    plain.run()
    logs = control.run().logs
    assert max(log["speq_loss"] for log in logs) < 1e-6
    for weight, other in zip(plain.weights(), control.weights(), strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-4, atol=1e-5)


# Quick for all methods together in test_every_method.py.
@pytest.mark.slow
def test_it_goes_on_to_the_bit_and_steps_of_one_call_change_nothing(tmp_path):
    whole = Training((Speq(),), scheme=PACT)
    whole.run()
    again = resumed(lambda: Training((Speq(),), scheme=PACT), tmp_path, 1)
    assert_same(whole.weights(), again.weights())
    together = dataclasses.replace(FITTING, steps_per_execution=3)
    three = Training((Speq(),), scheme=PACT, fitting=together)
    three.run()
    for weight, same in zip(whole.weights(), three.weights(), strict=True):
        np.testing.assert_allclose(weight, same, rtol=1e-5, atol=1e-6)


def test_a_student_without_such_activations_is_refused():
    with pytest.raises(ValueError, match=r"nothing else to vary. Received: activations of \[\]"):
        Training((Speq(),))
    eight = Scheme(UniformQuantizer(2), LsqActivationQuantizer(8))
    with pytest.raises(ValueError, match=r"fewer than 8 bits"):
        Training((Speq(),), scheme=eight)


@pytest.mark.parametrize(
    "settings",
    [{"bits": 2}, {"probability": 1.5}, {"temperature": 0.0}, {"loss": "l2"}, {"seed": -1}],
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match="`speq"):
        Speq(**settings)
