import math

import numpy as np
import pytest

from tfqkd.study.record import softened_entropy


def test_even_logits_have_the_entropy_of_even_odds():
    assert softened_entropy(np.zeros((3, 10), np.float32), 4.0) == pytest.approx(math.log(10))


def test_sure_logits_have_none():
    assert softened_entropy(np.array([[1000.0, 0.0, 0.0]]), 1.0) == pytest.approx(0.0)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_entropy_of_two_classes_is_that_of_a_coin(temperature):
    p = 1 / (1 + math.exp(-2.0 / temperature))
    expected = -p * math.log(p) - (1 - p) * math.log(1 - p)
    assert softened_entropy(np.array([[5.0, 3.0]]), temperature) == pytest.approx(expected)


def test_the_entropy_is_the_mean_over_the_images():
    logits = np.array([[0.0, 0.0], [1000.0, 0.0]])
    assert softened_entropy(logits, 1.0) == pytest.approx(math.log(2) / 2)
