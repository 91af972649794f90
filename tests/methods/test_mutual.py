import dataclasses

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from methods.training_of import FITTING, Training, assert_same, data, network, resumed
from tfqkd.compat import keras, tf
from tfqkd.methods.mutual import Mutual


def kl(target, logits, temperature):
    log_p = log_softmax(np.float64(target) / temperature, axis=-1)
    log_q = log_softmax(np.float64(logits) / temperature, axis=-1)
    return temperature**2 * np.sum(softmax(target / temperature, axis=-1) * (log_p - log_q), -1)


def peer_of(training):
    (peer,) = training.network.beside
    return peer


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_student_and_peer_learn_from_labels_and_each_other(temperature):
    """One step of plain SGD against gradients of the two losses, taken one by one."""
    method = Mutual(weight=0.7, temperature=temperature)
    plain = dataclasses.replace(
        FITTING, epochs=1, steps=1, momentum=0.0, weight_decay=0.0, batch_size=24
    )
    training = Training((method,), fitting=plain)
    student, peer = training.student, peer_of(training)
    images, labels = data().train.images, np.eye(3, dtype=np.float32)[data().train.labels]
    before = [each.get_weights() for each in (student, peer)]
    expected, values = [], {}
    for learner, other, weight in ((student, peer, 0.7), (peer, student, 1.0)):
        for each, weights in zip((student, peer), before, strict=True):
            each.set_weights(weights)
        with tf.GradientTape() as tape:
            logits = learner(images, training=True)
            target = tf.stop_gradient(other(images, training=True))
            hard = keras.losses.CategoricalCrossentropy(from_logits=True)(labels, logits)
            divergence = temperature**2 * tf.reduce_mean(
                keras.losses.kl_divergence(
                    tf.nn.softmax(target / temperature), tf.nn.softmax(logits / temperature)
                )
            )
            loss = hard + weight * divergence
        gradients = tape.gradient(loss, learner.trainable_variables)
        expected.append(
            [
                v.numpy() - 0.05 * g.numpy()
                for v, g in zip(learner.trainable_variables, gradients, strict=True)
            ]
        )
        values[learner is peer] = (np.mean(kl(target, logits, temperature)), float(hard))
    for each, weights in zip((student, peer), before, strict=True):
        each.set_weights(weights)
    logs = training.run().logs[0]
    for each, variables in zip((student, peer), expected, strict=True):
        for variable, value in zip(each.trainable_variables, variables, strict=True):
            np.testing.assert_allclose(variable.numpy(), value, rtol=1e-4, atol=1e-6)
    divergence, hard = values[False]
    assert logs["mutual_loss"] == pytest.approx(divergence, rel=1e-4, abs=2e-6)
    assert logs["hard_loss"] == pytest.approx(hard, rel=1e-5)
    divergence, hard = values[True]
    assert logs["peer_loss"] == pytest.approx(hard + divergence, rel=1e-4)


# Quick for all methods together in test_every_method.py.
@pytest.mark.slow
def test_without_weight_the_student_is_the_plain_run_to_the_bit():
    plain, mutual = Training(()), Training((Mutual(weight=0.0),))
    plain.run()
    first = peer_of(mutual).get_weights()
    mutual.run()
    assert_same(plain.weights(), mutual.weights())
    assert any(
        (one != other).any()
        for one, other in zip(first, peer_of(mutual).get_weights(), strict=True)
    )


# Quick for all methods together in test_every_method.py.
@pytest.mark.slow
def test_student_and_peer_go_on_to_the_bit(tmp_path):
    whole = Training((Mutual(),))
    whole.run()
    again = resumed(lambda: Training((Mutual(),)), tmp_path, behind=1)
    assert_same(whole.weights(), again.weights())
    assert_same(peer_of(whole).get_weights(), peer_of(again).get_weights())


def test_a_peer_has_a_network_and_a_seed_of_its_own():
    peer = peer_of(Training((Mutual(network="7", seed=4),)))
    assert peer.count_params() == network(0, 7).count_params()
    assert_same(peer.get_weights(), network(4, 7).get_weights())


def test_equal_peers_of_no_temperature_or_weight():
    with pytest.raises(ValueError, match=r"mutual\.temperature"):
        Mutual(temperature=0.0)
    with pytest.raises(ValueError, match="weight of a term"):
        Training((Mutual(weight=-1.0),))


def test_it_stands_beside_a_teacher():
    training = Training((Mutual(weight=0.5),), teacher=network(9), distils=True)
    logs = training.run().logs[-1]
    total = 0.5 * logs["hard_loss"] + 0.5 * logs["soft_loss"]
    total += 0.5 * logs["mutual_loss"] + logs["peer_loss"]
    assert logs["loss"] == pytest.approx(total, rel=1e-5)
