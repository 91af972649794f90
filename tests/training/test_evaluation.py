import numpy as np
import pytest
from sklearn import metrics

from tfqkd.training.evaluation import evaluate_logits


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


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_with_five_classes_or_fewer_every_label_is_among_the_best(classes):
    assert evaluate_logits(*example(40, classes)).top5 == 1.0


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
