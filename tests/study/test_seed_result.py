import dataclasses
import json
import math

import numpy as np
import pytest

from tfqkd.study.seed_result import SeedResult, softened_entropy, thinned


def test_a_short_history_is_kept_whole():
    assert thinned(range(1, 301)) == list(range(1, 301))


def test_a_long_history_keeps_both_ends_and_even_distances():
    kept = thinned(range(1, 5001))
    assert (kept[0], kept[-1]) == (1, 5000)
    gaps = np.diff(kept)
    assert len(kept) <= 400
    assert gaps.min() >= 12 and gaps.max() <= 13


def test_a_record_of_a_long_training_of_a_deep_network_fits_into_a_text_of_mysql():
    curves = ("epoch", "loss", "hard_loss", "soft_loss", "accuracy", "val_accuracy", "coefficient")
    rows = thinned([dict.fromkeys(curves, 123.456789)] * 2000)
    record = SeedResult(
        *[0.123456789] * 4,
        teacher_parameters=10**7,
        teacher_entropy=0.123456789,
        directory="x" * 200,
        curves={name: [row[name] for row in rows] for name in curves},
        layers=[
            {"layer": f"stage3_block{i:03d}_conv2", "bits": 2, "zeros": 1 / 3, "step": 1 / 300}
            for i in range(160)
        ],
    )
    assert len(json.dumps(dataclasses.asdict(record))) < 2**16


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
