import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from tfqkd.compat import tf
from tfqkd.core.agreement import agreement, are_probabilities, class_numbers, sigmoid_agreement

rng = np.random.default_rng(0)
TEACHER, STUDENT = rng.normal(scale=3, size=(2, 6, 5))
FRAMEWORKS = {"numpy": np.asarray, "tensorflow": tf.constant}


@pytest.fixture(params=FRAMEWORKS)
def tensor(request):
    """Makes a tensor of each framework that finds its table by itself."""
    return FRAMEWORKS[request.param]


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (softmax(TEACHER, axis=1), True),
        ([[0.0, 1.0], [0.25, 0.75]], True),
        ([[0.0, 1.0], [0.3, 0.75]], False),
        ([[-0.25, 1.25]], False),
        (TEACHER, False),
        (log_softmax(TEACHER, axis=1), False),
        (np.zeros((0, 5)), False),
    ],
)
@pytest.mark.parametrize("dtype", [tf.float32, tf.float16, tf.bfloat16])
def test_probabilities_are_told_from_logits(answers, expected, dtype):
    answers = tf.cast(answers, dtype)
    for each in (answers, answers.numpy()):
        assert bool(are_probabilities(each)) is expected


def test_agreement_compares_the_best_classes(tensor):
    expected = (TEACHER.argmax(1) == STUDENT.argmax(1)).astype(np.float32)
    np.testing.assert_array_equal(agreement(tensor(TEACHER), tensor(STUDENT)), expected)


def test_of_labels_agreement_compares_each_yes_and_no(tensor):
    expected = ((TEACHER > 0) == (STUDENT > 0)).astype(np.float32)
    agreed = sigmoid_agreement(tensor(TEACHER), tensor(STUDENT))
    np.testing.assert_array_equal(agreed, expected)


def test_classes_are_read_from_labels_of_every_form(tensor):
    numbers = np.array([2, 0, 4])
    logits = tensor(np.zeros((3, 5)))
    for labels in (numbers, numbers[:, None], np.eye(5, dtype="float32")[numbers]):
        assert np.asarray(class_numbers(tensor(labels), logits)).tolist() == [2, 0, 4]


def test_labels_of_unknown_rank_are_numbers_of_classes():
    @tf.function(input_signature=[tf.TensorSpec(None, tf.int64), tf.TensorSpec((None, 5))])
    def read(labels, logits):
        return class_numbers(labels, logits)

    assert read([[2], [0]], tf.zeros((2, 5))).numpy().tolist() == [2, 0]
