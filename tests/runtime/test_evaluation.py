import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from tfqkd.runtime.evaluation import (
    Difference,
    evaluate_logits,
    evaluate_outputs,
    paired_difference,
)


def example(count, classes, scale=3.0, seed=0):
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, scale, (count, classes)).astype(np.float32)
    labels = generator.integers(0, classes, count)
    labels[:classes] = np.arange(classes)  # scikit-learn infers the classes from the labels.
    return logits, labels


def softmax(logits):
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("count", "classes"), [(500, 10), (1000, 100), (50, 6)])
def test_figures_agree_with_scikit_learn(count, classes):
    logits, labels = example(count, classes)
    found = evaluate_logits(logits, labels)
    predicted = logits.argmax(axis=1)
    assert found.accuracy == metrics.accuracy_score(labels, predicted)
    assert found.top5 == pytest.approx(metrics.top_k_accuracy_score(labels, logits, k=5))
    assert found.loss == pytest.approx(metrics.log_loss(labels, softmax(logits)), rel=1e-9)
    expected = metrics.confusion_matrix(labels, predicted, labels=range(classes))
    np.testing.assert_array_equal(found.confusion, expected)
    assert found.confusion.dtype == np.int64


@pytest.mark.parametrize(("count", "classes"), [(500, 10), (50, 6)])
def test_precision_and_recall_of_each_class_agree_with_scikit_learn(count, classes):
    logits, labels = example(count, classes)
    labels[0] = logits[0].argmax()
    found, predicted = evaluate_logits(logits, labels), logits.argmax(axis=1)
    for ours, theirs in (
        (found.precision, metrics.precision_score(labels, predicted, average=None)),
        (found.recall, metrics.recall_score(labels, predicted, average=None)),
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_a_class_that_is_never_said_has_no_precision_and_one_without_images_no_recall():
    logits = np.array([[9, 0, 0], [9, 0, 0]], np.float32)
    found = evaluate_logits(logits, np.array([0, 1]))
    assert found.precision == (0.5, None, None)
    assert found.recall == (1.0, 0.0, None)


def calibration_error(shares, came_true, bins=15):
    """ECE as its definition has it: a loop over parts of 0 to 1, in each the distance of two means."""
    error = 0.0
    for low in np.arange(bins) / bins:
        inside = (shares > low) & (shares <= low + 1 / bins) | ((low == 0) & (shares == 0))
        if inside.any():
            error += inside.mean() * abs(shares[inside].mean() - came_true[inside].mean())
    return error


@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_the_calibration_error_is_what_its_definition_says(scale):
    logits, labels = example(2000, 6, scale)
    shares = softmax(logits)
    expected = calibration_error(shares.max(1), shares.argmax(1) == labels)
    assert expected > 0.05
    assert evaluate_logits(logits, labels).calibration_error == pytest.approx(expected, rel=1e-9)
    assert evaluate_outputs(shares, labels, "softmax").calibration_error == pytest.approx(expected)
    single = 1 / (1 + np.exp(-logits.astype(np.float64)))
    expected = calibration_error(single.ravel(), np.eye(6)[labels].ravel())
    for outputs, output in ((logits, "sigmoid_logits"), (single, "sigmoid")):
        found = evaluate_outputs(outputs, labels, output)
        assert found.calibration_error == pytest.approx(expected, rel=1e-5)
        assert sum(part.count for part in found.reliability) == 12000
    assert evaluate_outputs(logits, labels, "values").calibration_error is None


def test_who_is_right_as_often_as_it_says_is_calibrated():
    shares = np.tile([[0.75, 0.25, 0.0]], (4, 1))
    found = evaluate_outputs(shares, np.array([0, 0, 0, 1]), "softmax")
    assert found.calibration_error == 0.0
    # Sure and always wrong.
    assert evaluate_logits(np.array([[1e4, 0.0]]), np.array([1])).calibration_error == 1.0


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_five_classes_or_fewer_have_no_top5(classes):
    assert evaluate_logits(*example(40, classes)).top5 is None


def test_rows_of_the_confusion_are_labels():
    logits = np.array([[0, 9, 0], [0, 9, 0], [9, 0, 0]], np.float32)
    found = evaluate_logits(logits, np.array([1, 0, 2]))
    assert found.confusion.tolist() == [[0, 1, 0], [0, 1, 0], [1, 0, 0]]
    assert found.accuracy == pytest.approx(1 / 3)


def test_a_class_that_does_not_occur_has_an_empty_row():
    logits, _ = example(20, 4)
    found = evaluate_logits(logits, np.zeros(20, np.int64))
    assert found.confusion.sum(axis=1).tolist() == [20, 0, 0, 0]


def test_large_logits_do_not_overflow():
    logits = np.array([[1e4, 0.0], [3e38, 0.0]], np.float32)
    assert evaluate_logits(logits, np.array([0, 0])).loss == 0.0
    assert evaluate_logits(logits[:1], np.array([1])).loss == 1e4


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_refused(value):
    logits, labels = example(20, 4)
    logits[7, 2] = value
    with pytest.raises(ValueError, match=r"must be finite\. Received: NaN or infinity"):
        evaluate_logits(logits, labels)


def test_logits_and_labels_must_be_as_many():
    logits, labels = example(20, 4)
    with pytest.raises(ValueError, match="Received: 20 for 19 labels"):
        evaluate_logits(logits, labels[:-1])


@pytest.mark.parametrize("classes", [1, 4])
def test_losses_of_what_is_no_logits_are_those_of_keras(classes):
    from tfqkd.compat import keras

    logits, labels = example(200, classes, scale=1.0)
    hot = np.eye(classes)[labels]
    of_each = keras.losses.BinaryCrossentropy(from_logits=True)(hot, logits).numpy()
    assert evaluate_outputs(logits, labels, "sigmoid_logits").loss == pytest.approx(
        of_each, rel=1e-5
    )
    sigmoid = 1 / (1 + np.exp(-logits))
    assert evaluate_outputs(sigmoid, labels, "sigmoid").loss == pytest.approx(of_each, rel=1e-5)
    shares = softmax(logits)
    of_all = keras.losses.CategoricalCrossentropy()(hot, shares).numpy()
    found = evaluate_outputs(shares, labels, "softmax")
    assert found.loss == pytest.approx(of_all, rel=1e-5, abs=1e-6)
    assert found.accuracy == evaluate_logits(logits, labels).accuracy
    assert evaluate_outputs(logits, labels, "values").loss is None


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_a_probability_that_was_rounded_to_zero_has_a_finite_loss(output):
    found = evaluate_outputs(np.array([[0.0, 1.0]], np.float32), np.array([0]), output)
    assert found.loss == pytest.approx(-np.log(1e-7))


@pytest.mark.parametrize("agree", [0.0, 0.9])
def test_the_error_of_a_difference_is_that_of_the_paired_t_test(agree):
    generator = np.random.default_rng(1)
    other = generator.random(400) < 0.6
    right = np.where(generator.random(400) < agree, other, generator.random(400) < 0.7)
    found = paired_difference(right, other)
    assert found.accuracy == pytest.approx(right.mean() - other.mean())
    # That test divides by N - 1.
    t = stats.ttest_rel(1.0 * right, 1.0 * other).statistic * np.sqrt(400 / 399)
    assert found.accuracy / found.error == pytest.approx(t)


def test_a_model_does_not_differ_from_itself():
    right = np.array([True, False, True])
    assert paired_difference(right, right) == Difference(0.0, 0.0)
