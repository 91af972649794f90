import numpy as np
import pytest

from tfqkd.runtime.outputs import OUTPUTS, SIGNATURE_NAMES, probabilities

ROWS = np.log(np.array([[1, 2, 5], [3, 3, 2]], np.float32))


def test_the_softmax_of_logits():
    np.testing.assert_allclose(
        probabilities(ROWS + 90, "logits"),
        [[1 / 8, 2 / 8, 5 / 8], [3 / 8, 3 / 8, 2 / 8]],
        rtol=1e-5,
    )


def test_the_sigmoid_of_each_logit_of_its_own():
    # x = ln a: a / (1 + a).
    found = probabilities(ROWS, "sigmoid_logits")
    np.testing.assert_allclose(found, [[1 / 2, 2 / 3, 5 / 6], [3 / 4, 3 / 4, 2 / 3]], rtol=1e-6)
    with np.errstate(over="raise"):
        far = probabilities(np.float32([[-1e4, 1e4]]), "sigmoid_logits")
    np.testing.assert_array_equal(far, [[0, 1]])


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_probabilities_stay_what_they_are(output):
    np.testing.assert_array_equal(probabilities(np.abs(ROWS), output), np.abs(ROWS))


def test_values_have_no_probabilities():
    assert probabilities(ROWS, "values") is None
    assert list(SIGNATURE_NAMES) == list(OUTPUTS)
