import dataclasses
import json

import numpy as np
import pytest

from tfqkd.core.ops import NUMPY
from tfqkd.core.soft_loss import SoftLoss
from tfqkd.core.tasks import TASKS

from . import soft_reference as reference

rng = np.random.default_rng(0)
TEACHER, STUDENT = rng.normal(scale=3, size=(2, 6, 5))
LABELS = rng.integers(0, 5, 6)
SOFTMAX, SIGMOID, REGRESSION = TASKS["softmax"], TASKS["sigmoid"], TASKS["regression"]
TEMPERATURE, BETA = 2.0, 3.0


def decoupled():
    binary, others = reference.decoupled(TEACHER, STUDENT, LABELS, TEMPERATURE)
    return binary + BETA * others


@pytest.mark.parametrize(
    ("task", "kind", "expected"),
    [
        (SOFTMAX, "cross_entropy", reference.soft_loss(TEACHER, STUDENT, TEMPERATURE)),
        (SOFTMAX, "kl", reference.soft_loss(TEACHER, STUDENT, TEMPERATURE, "kl")),
        (SOFTMAX, "standardized", reference.standardized_kl(TEACHER, STUDENT, TEMPERATURE)),
        (SOFTMAX, "dkd", decoupled()),
        (SOFTMAX, "dist", reference.correlation(TEACHER, STUDENT, TEMPERATURE)),
        (SOFTMAX, "cosine", reference.cosine(TEACHER, STUDENT, TEMPERATURE)),
        (SIGMOID, "kl", reference.sigmoid_soft_loss(TEACHER, STUDENT, TEMPERATURE, "kl")),
        (REGRESSION, "cross_entropy", reference.squared_error(TEACHER, STUDENT)),
        (REGRESSION, "kl", reference.squared_error(TEACHER, STUDENT)),
    ],
)
@pytest.mark.parametrize("labels", [LABELS, LABELS[:, None], np.eye(5)[LABELS]])
def test_each_kind_of_each_task_is_its_formula(task, kind, expected, labels):
    loss = SoftLoss(kind, BETA).of(task, TEACHER, STUDENT, labels, TEMPERATURE, NUMPY)
    np.testing.assert_allclose(loss, expected, rtol=1e-4, atol=1e-5)
    assert loss.dtype == np.float32


@pytest.mark.parametrize("kind", ["kl", "standardized", "dkd", "dist", "cosine"])
def test_unscaled_it_is_smaller_by_the_square_of_the_temperature(kind):
    scaled, plain = (
        SoftLoss(kind, BETA, scale).of(SOFTMAX, TEACHER, STUDENT, LABELS, TEMPERATURE, NUMPY)
        for scale in (True, False)
    )
    np.testing.assert_allclose(plain, scaled / TEMPERATURE**2, rtol=1e-6)


def test_its_settings_are_json():
    loss = SoftLoss("dkd", 2.0, scale_by_temperature_squared=False)
    assert SoftLoss(**json.loads(json.dumps(dataclasses.asdict(loss)))) == loss


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"kind": "mse"},
            "must be one of cross_entropy, kl, standardized, dkd, dist, cosine, none",
        ),
        ({"dkd_beta": -1.0}, "`dkd_beta` must be 0 or more"),
        ({"dkd_beta": float("inf")}, "and finite"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        SoftLoss(**settings)


def test_outputs_that_a_kind_cannot_compare_are_refused():
    for kind in ("standardized", "dkd", "dist", "cosine"):
        with pytest.raises(ValueError, match=r"compares the classes.*task='sigmoid'"):
            SoftLoss(kind).require_outputs(SIGMOID, None)
    with pytest.raises(ValueError, match="three classes or more"):
        SoftLoss("dkd").require_outputs(SOFTMAX, 2)
    SoftLoss("dkd").require_outputs(SOFTMAX, None)
    SoftLoss("kl").require_outputs(REGRESSION, 1)
