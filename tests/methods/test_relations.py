"""RKD and FSP as methods; their maths is tried in tests/core/test_relations.py."""

import dataclasses

import numpy as np
import pytest

from methods.training_of import FITTING, Training, data, network
from tfqkd.compat import keras
from tfqkd.core.ops import NUMPY
from tfqkd.core.relations import angle_loss, distance_loss, flow_loss
from tfqkd.fronts.tfmot import front
from tfqkd.fronts.tfmot.taps import tapped
from tfqkd.methods.fsp import Fsp
from tfqkd.methods.rkd import Rkd

STILL = dataclasses.replace(FITTING, epochs=1, steps=1, batch_size=24, learning_rate=0.0)


def test_the_losses_of_a_training_are_those_of_the_layers_that_they_name():
    """By default the pooled maps of RKD, and the last maps of each size of FSP."""
    methods = Rkd(weight=2.0, angle=3.0), Fsp(weight=5.0, falls=False)
    training = Training(methods, teacher=network(9), fitting=STILL)
    images, names = data().train.images, ["pool", "early", "late"]
    student, teacher = (
        [each.numpy() for each in tapped(model, names, "x")(images, training=mode)[:3]]
        for model, mode in ((training.student, True), (training.teacher, False))
    )
    rkd = distance_loss(student[0], teacher[0], NUMPY)
    rkd += 3 * angle_loss(student[0], teacher[0], NUMPY)
    fsp = np.mean(flow_loss(student[1:], teacher[1:], NUMPY))
    logs = training.run().logs[0]
    assert logs["rkd_loss"] == pytest.approx(rkd, rel=1e-4)
    assert logs["fsp_loss"] == pytest.approx(fsp, rel=1e-4)
    total = logs["hard_loss"] + 2 * rkd + 5 * fsp
    assert logs["loss"] == pytest.approx(total, rel=1e-4)


def test_the_embedding_is_the_last_vector_before_the_logits():
    shown = [front.network(model, network) for model in (network(1), network(2, 7))]
    (term,) = Rkd().terms(shown[0], shown[1:])
    assert (term.student_taps, term.teacher_taps) == (("pool",), ("pool",))
    assert (term.weight, term.schedule) == (25.0, None)


def test_what_does_not_fit_is_refused():
    teacher = network(9, filters=7)
    with pytest.raises(ValueError, match="teacher of the student's channels"):
        Training((Fsp(),), teacher=teacher)
    with pytest.raises(ValueError, match="two feature maps or more"):
        Training((Fsp(student_taps=("late",), teacher_taps=("late",)),), teacher=network(9))
    up = ("late", "early")
    with pytest.raises(ValueError, match="by a whole factor to the size of the next"):
        Training((Fsp(student_taps=up, teacher_taps=up),), teacher=network(9))
    with pytest.raises(ValueError, match="vectors, one for each example"):
        Training((Rkd(student_tap="late", teacher_tap="late"),), teacher=teacher)
    flat = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Conv2D(3, 6)])
    with pytest.raises(ValueError, match="puts out a vector before the logits"):
        Training((Rkd(),), teacher=flat)
    with pytest.raises(ValueError, match="go together"):
        Rkd(student_tap="pool")
    with pytest.raises(ValueError, match=r"rkd\.angle"):
        Rkd(angle=-1.0)
    with pytest.raises(ValueError, match="weight of a term must be 0 or more"):
        Training((Rkd(weight="balanced:0"),), teacher=teacher)
