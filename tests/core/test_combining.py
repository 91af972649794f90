import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from tfqkd.compat import tf
from tfqkd.core.combining import combined
from tfqkd.core.losses import soft_loss
from tfqkd.core.ops import NUMPY
from tfqkd.core.teachers import Ensemble, require_combinable
from tfqkd.fronts.tfmot.teachers import as_teacher

rng = np.random.default_rng(1)
ANSWERS = list(2 * rng.normal(size=(3, 4, 5)).astype(np.float32))
SURE = np.float32([[90, 0, 0], [0, 0, 90]])


def test_the_mean_of_logits_is_no_mean_of_distributions():
    np.testing.assert_allclose(combined(ANSWERS), np.mean(ANSWERS, axis=0), rtol=1e-6, atol=1e-7)
    both = [softmax(combined(ANSWERS, how), axis=-1) for how in ("logits", "probabilities")]
    np.testing.assert_allclose(both[1], softmax(ANSWERS, axis=-1).mean(0), rtol=1e-5)
    assert np.abs(both[0] - both[1]).max() > 0.01


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_mean_of_distributions_has_the_mean_of_the_losses_but_for_a_constant(temperature):
    student = rng.normal(size=(4, 5)).astype(np.float32)
    one = combined(ANSWERS, "probabilities", temperature)
    losses = [soft_loss(each, student, temperature) for each in ANSWERS]
    np.testing.assert_allclose(
        soft_loss(one, student, temperature), np.mean(losses, axis=0), rtol=1e-5
    )


def test_who_is_surer_counts_for_more_by_the_published_weights():
    probabilities = softmax(np.float64(ANSWERS), axis=-1)
    entropies = -(probabilities * np.log(probabilities)).sum(-1, keepdims=True)
    weights = (1 - entropies / entropies.sum(0)) / 2
    np.testing.assert_allclose(weights.sum(0), 1)
    softened = softmax(np.float64(ANSWERS) / 3, axis=-1)
    found = softmax(combined(ANSWERS, "confidence", 3.0) / 3, axis=-1)
    np.testing.assert_allclose(found, (weights * softened).sum(0), rtol=1e-4)


@pytest.mark.parametrize("how", ["logits", "probabilities", "confidence"])
def test_equal_teachers_are_one(how):
    expected = log_softmax(ANSWERS[0], axis=-1)
    for several in ([ANSWERS[0]], [ANSWERS[0]] * 3):
        found = combined(several, how, 2.0)
        np.testing.assert_allclose(log_softmax(found, axis=-1), expected, rtol=1e-4, atol=1e-5)
    # Certain teachers have no entropy to share.
    assert np.isfinite(combined([SURE, SURE[::-1]], how, ops=NUMPY)).all()


def test_an_ensemble_combines_what_its_teachers_say():
    teachers = [lambda batch, a=answer: batch + a for answer in ANSWERS]
    batch = tf.zeros([4, 5])
    for how in ("probabilities", "confidence"):
        ask = as_teacher(Ensemble(teachers, how, 2.0))
        np.testing.assert_allclose(ask(batch), combined(ANSWERS, how, 2.0), rtol=1e-5, atol=1e-6)


def test_what_cannot_be_combined_is_refused():
    one, two = object(), object()
    with pytest.raises(ValueError, match=r"one of logits, probabilities, confidence\. Received"):
        Ensemble([one], "median")
    with pytest.raises(ValueError, match="temperature of an ensemble"):
        Ensemble([one, two], temperature=0.0)
    nested = Ensemble([one, Ensemble([two], "confidence")])
    require_combinable(nested, {"": "auto"})
    with pytest.raises(ValueError, match="by confidence for the classes of one softmax"):
        require_combinable(nested, {"": "regression"})
