import json
import os
import pathlib
import subprocess

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from benchmarks.environments import python_of
from tests.core.drawn import CASES, COUNT, VIEWS
from tfqkd.compat import tf
from tfqkd.core.views import NUMPY, draw, draw_numbers, draw_order, fold, folded, mix
from tfqkd.fronts.tfmot.uint32 import TENSORFLOW

ROOT = pathlib.Path(__file__).parents[2]
WORD = st.integers(0, 2**32 - 1)


def mixed(x):
    """The published C code, in whole numbers."""
    x ^= x >> 16
    x = x * 0x7FEB352D % 2**32
    x ^= x >> 15
    x = x * 0x846CA68B % 2**32
    return x ^ x >> 16


def keyed(*values):
    key, *values = values
    for value in values:
        key = mixed((mixed((key + 0x9E3779B9) % 2**32) + value) % 2**32)
    return key


def expected(key, epoch):
    """Order and views of an epoch, by the definition."""
    order = sorted(range(COUNT), key=lambda example: keyed(key, 1, epoch, example))
    return [order, [keyed(key, 2, epoch, example) % VIEWS for example in range(COUNT)]]


@given(st.lists(WORD, min_size=1, max_size=5))
def test_the_hash_is_the_published_one_in_every_arithmetic(values):
    assert folded(*values) == keyed(*values)
    for words in (NUMPY, TENSORFLOW):
        key = words.word([values[0]])
        for value in values[1:]:
            key = fold(key, value, words)
        assert np.asarray(key).tolist() == [keyed(*values)]


@pytest.mark.parametrize(("key", "epoch"), CASES)
def test_order_and_views_are_the_same_bits_in_numpy_and_tensorflow(key, epoch):
    for words, examples in (
        (NUMPY, np.arange(COUNT)),
        (TENSORFLOW, tf.range(COUNT)),
    ):
        order = draw_order(key, epoch, examples, words)
        views = draw_numbers(key, epoch, examples, VIEWS, words)
        assert [np.asarray(order).tolist(), np.asarray(views).tolist()] == expected(key, epoch)


@pytest.mark.slow
@pytest.mark.parametrize("library", ["jax", "torch"])
def test_order_and_views_are_the_same_bits_in_other_libraries(library):
    child = subprocess.run(
        [python_of(library), "-m", "tests.core.drawn", library],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(child.stdout) == [expected(key, epoch) for key, epoch in CASES]


def test_equal_words_keep_the_order_of_their_examples():
    words = [3, 1, 3, 1, 2]
    for arithmetic in (NUMPY, TENSORFLOW):
        assert np.asarray(arithmetic.argsort(arithmetic.word(words))).tolist() == [1, 3, 4, 0, 2]


def test_each_bit_of_the_input_moves_half_of_the_output():
    values = np.arange(4096, dtype=np.uint32)
    plain = mix(values, NUMPY)
    for bit in range(32):
        moved = plain ^ mix(values ^ np.uint32(1 << bit), NUMPY)
        shares = [np.mean(moved >> np.uint32(out) & np.uint32(1)) for out in range(32)]
        assert np.abs(np.array(shares) - 0.5).max() < 0.05


def test_every_word_is_equally_likely_and_keys_epochs_and_purposes_are_independent():
    examples = np.arange(50_000)
    plain = draw(7, 1, 3, examples, NUMPY)
    counts = np.bincount(plain >> np.uint32(24), minlength=256)
    assert chisquare(counts).pvalue > 0.01
    for other in (
        draw(8, 1, 3, examples, NUMPY),
        draw(7, 2, 3, examples, NUMPY),
        draw(7, 1, 4, examples, NUMPY),
        draw(7, 1, 3, examples + 1, NUMPY),
        draw(3, 1, 7, examples, NUMPY),
    ):
        correlation = np.corrcoef(plain.astype(float), other.astype(float))[0, 1]
        assert abs(correlation) < 4 / 50_000**0.5
