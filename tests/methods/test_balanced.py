"""Weights that are found by gradients."""

import dataclasses

import numpy as np
import pytest

from methods.training_of import DISTILLATION, FITTING, Training, data, network
from tfqkd.compat import keras, tf
from tfqkd.core.quantizers import LsqQuantizer
from tfqkd.core.schemes import Scheme
from tfqkd.fronts.tfmot.balance import Balances
from tfqkd.fronts.tfmot.ops import OPS
from tfqkd.fronts.tfmot.taps import tapped
from tfqkd.methods.rkd import Rkd

METHOD = Rkd(weight="balanced:0.5")
BATCH = dataclasses.replace(FITTING, batch_size=24, steps=1, epochs=2)


def teacher():
    return network(9, filters=7)


def norm(gradients):
    return np.sqrt(sum(np.sum(np.float64(each) ** 2) for each in gradients))


def test_the_gradient_of_the_weighted_loss_is_the_ratio_of_the_hard_ones():
    """Against gradients that are taken one by one, over the weights that both losses reach."""
    training = Training((METHOD,), teacher=teacher(), fitting=BATCH, scheme=Scheme(LsqQuantizer(2)))
    student, images = training.student, data().train.images
    labels = np.eye(3, dtype=np.float32)[data().train.labels]
    both, taught = (
        tapped(student, ["pool"], "student"),
        tapped(training.teacher, ["pool"], "teacher"),
    )
    kept = student.get_weights()
    with tf.GradientTape(persistent=True) as tape:
        pooled, logits = both(images, training=True)
        hard = keras.losses.CategoricalCrossentropy(from_logits=True)(labels, logits)
        seen = dataclasses.make_dataclass("Seen", ["student_taps", "teacher_taps", "ops"])
        loss = METHOD._loss(seen((pooled,), (taught(images, training=False)[0],), OPS))
    student.set_weights(kept)
    # Not the logits' layer, which the embedding comes before; no scales.
    shared = [
        each
        for each in student.trainable_variables
        if each.shape.rank and "logits" not in each.name
    ]
    expected = 0.5 * norm(tape.gradient(hard, shared)) / norm(tape.gradient(loss, shared))
    logs = training.run().logs
    assert logs[0]["rkd_loss_weight"] == pytest.approx(expected, rel=1e-4)
    assert logs[1]["rkd_loss_weight"] == logs[0]["rkd_loss_weight"]
    total = logs[1]["hard_loss"] + logs[1]["rkd_loss_weight"] * logs[1]["rkd_loss"]
    assert logs[1]["loss"] == pytest.approx(total, rel=1e-5)


def test_the_soft_loss_is_balanced_too():
    how = dataclasses.replace(DISTILLATION, soft_weight="balanced:2")
    training = Training((), teacher=teacher(), distils=True, distillation=how, fitting=BATCH)
    logs = training.run().logs
    weight = logs[0]["soft_loss_weight"]
    assert weight > 0
    assert logs[1]["soft_loss_weight"] == weight
    total = 0.5 * logs[1]["hard_loss"] + 0.5 * weight * logs[1]["soft_loss"]
    assert logs[1]["loss"] == pytest.approx(total, rel=1e-5)


def test_a_weight_is_found_at_the_first_step_with_a_gradient():
    variables = [tf.Variable([1.0, 2.0])]
    student = dataclasses.make_dataclass("Student", ["trainable_variables", "layers"])(
        variables, []
    )
    balances = Balances({"a": "balanced:2", "b": 1.0})

    @tf.function
    def step(factor):
        with tf.GradientTape(persistent=True) as tape:
            hard, loss = tf.reduce_sum(3 * variables[0]), tf.reduce_sum(factor * variables[0])
            return balances.find(tape, hard, {"a": loss, "b": loss}, student)["a"]

    found = [float(step(tf.constant(factor))) for factor in (0.0, 0.0, 4.0, 1.0)]
    assert found == pytest.approx([0.0, 0.0, 1.5, 1.5])
