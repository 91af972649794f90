import dataclasses

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from methods.training_of import FITTING, Training, data
from tfqkd.core.activations import LsqActivationQuantizer
from tfqkd.core.quantizers import LsqQuantizer
from tfqkd.core.schemes import Scheme
from tfqkd.methods.past_self import PastSelf

METHOD = PastSelf(weight=0.6)


def past_of(training):
    (past,) = training.network.beside
    return past


@pytest.mark.parametrize("every", [1, 2])
def test_the_snapshot_is_the_student_of_an_epoch_before_quantized_alike(every):
    scheme = Scheme(LsqQuantizer(2), LsqActivationQuantizer(4))
    training = Training((dataclasses.replace(METHOD, every=every),), scheme=scheme)
    start, behind = training.student.get_weights(), []

    def look(epoch):
        behind.append((training.student.get_weights(), past_of(training).get_weights()))

    training.run(look=look)
    students = [start, *(student for student, _ in behind)]
    for epoch, (_, past) in enumerate(behind, start=1):
        for weight, kept in zip(students[epoch // every * every], past, strict=True):
            np.testing.assert_array_equal(weight, kept)
    images = data().train.images
    training.student.set_weights(past_of(training).get_weights())
    np.testing.assert_array_equal(training.student(images), past_of(training)(images))


def test_the_loss_is_that_of_mixed_targets_which_rise_to_alpha():
    still = dataclasses.replace(FITTING, epochs=3, steps=1, batch_size=24, learning_rate=0.0)
    training = Training((METHOD,), fitting=still)
    images, labels = data().train.images, np.eye(3)[data().train.labels]
    answers = [training.student(images).numpy()]
    noted = training.run(look=lambda epoch: answers.append(training.student(images).numpy()))
    logits = log_softmax(np.float64(training.student(images, training=True)), axis=-1)
    for alpha, past, logs in zip((0.0, 0.3, 0.6), answers, noted.logs, strict=False):
        # The averages of batch norm move, whatever the learning rate.
        targets = (1 - alpha) * labels + alpha * softmax(np.float64(past), axis=-1)
        assert logs["loss"] == pytest.approx(-(targets * logits).sum(-1).mean(), rel=1e-4)


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"past_self\.weight"):
        PastSelf(weight=1.5)
    with pytest.raises(ValueError, match=r"past_self\.every"):
        PastSelf(every=0)
