"""The order of the examples and how each is shown: one integer hash, the same bits in every array library.

The hash folds words one by one into a key of 32 bits: seed, role, stage, purpose, epoch, example. What
is drawn for an example is a pure function of these, so that any of it can be drawn again, by any library.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

MASK = 0xFFFFFFFF
"""A word holds 32 bits; arithmetic on words is modulo 2**32."""

ORDER, VIEW, CROP, FLIP, MIX, OPERATION = 1, 2, 3, 4, 5, 6
"""Purposes, folded into a key so that the order of an epoch is not tied to its views; from the last one on
one for each of several operations."""


@dataclass(frozen=True)
class Words:
    """The unsigned 32-bit arithmetic of an array library.

    Attributes:
        word: From an integer 0..2**32-1 or an array of such to words.
        add: Of two arrays of words, modulo 2**32.
        multiply: Of two arrays of words, modulo 2**32.
        xor: Of two arrays of words, bit by bit.
        shift_right: From words and a number of bits; zeros come in.
        remainder: From words and a divisor to words below it.
        argsort: From words `[n]` to the rows that sort them, equal ones in their order.
    """

    word: Callable[[Any], Any]
    add: Callable[[Any, Any], Any]
    multiply: Callable[[Any, Any], Any]
    xor: Callable[[Any, Any], Any]
    shift_right: Callable[[Any, Any], Any]
    remainder: Callable[[Any, Any], Any]
    argsort: Callable[[Any], Any]


def _array_of_words(values: Any) -> np.ndarray:
    return np.asarray(values).astype(np.uint32)


def _stable_argsort(values: np.ndarray) -> np.ndarray:
    return np.argsort(values, kind="stable")


NUMPY = Words(
    word=_array_of_words,
    add=np.add,
    multiply=np.multiply,
    xor=np.bitwise_xor,
    shift_right=np.right_shift,
    remainder=np.remainder,
    argsort=_stable_argsort,
)


def mix(value: Any, words: Words) -> Any:
    """Scrambles words one to one: every bit of the input moves half of the output's.

    `x ^= x >> 16; x *= 0x7feb352d; x ^= x >> 15; x *= 0x846ca68b; x ^= x >> 16`, the hash "lowbias32" of
    C. Wellons, Prospecting for Hash Functions (2018; public domain).
    """
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        value = words.xor(value, words.shift_right(value, words.word(shift)))
        value = words.multiply(value, words.word(factor))
    return words.xor(value, words.shift_right(value, words.word(16)))


def fold(key: Any, value: Any, words: Words) -> Any:
    """Returns the key of `value` under `key`: `mix(mix(key + 0x9e3779b9) + value)`.

    Args:
        key: 0..2**32-1, or words.
        value: 0..2**32-1, or words; broadcasts against `key`.
        words: The arithmetic.
    """
    scrambled = mix(words.add(words.word(key), words.word(0x9E3779B9)), words)
    return mix(words.add(scrambled, words.word(value)), words)


def folded(key: int, *values: int) -> int:
    """Returns `key` with one value after the other folded in; all are integers 0..2**32-1."""
    # Arrays wrap around in silence; NumPy's scalars warn.
    state = np.array([key], np.uint32)
    for value in values:
        state = fold(state, np.array([value], np.uint32), NUMPY)
    return int(state[0])


def draw(key: Any, purpose: int, epoch: Any, examples: Any, words: Words) -> Any:
    """Draws a word for each example.

    Args:
        key: Of the training, 0..2**32-1.
        purpose: What is drawn.
        epoch: Number of the epoch, or of the view.
        examples: Numbers of examples in the training split `[n]`.
        words: The arithmetic.

    Returns:
        Words `[n]`, each equally likely.
    """
    return fold(fold(fold(key, purpose, words), epoch, words), examples, words)


def draw_order(key: Any, epoch: Any, examples: Any, words: Words) -> Any:
    """Draws the order in which an epoch shows the examples 0..n-1.

    Examples are sorted by their words; of two that share one, the first comes first (among 50,000 it
    happens to a third of a pair an epoch).

    Args:
        key: Of the training, 0..2**32-1.
        epoch: Its number.
        examples: 0..n-1.
        words: The arithmetic.

    Returns:
        A permutation of the examples, `[n]`.
    """
    return words.argsort(draw(key, ORDER, epoch, examples, words))


def draw_numbers(key: Any, view: Any, examples: Any, count: int, words: Words) -> Any:
    """Draws one of `count` views for each example.

    Args:
        key: Of the training, 0..2**32-1.
        view: Number of the table, such as the epoch.
        examples: Numbers of examples `[n]`.
        count: Number of views. Each has a chance of 1 in `count`, to within `count / 2**32`.
        words: The arithmetic.

    Returns:
        Words `[n]` below `count`.
    """
    drawn = draw(key, VIEW, view, examples, words)
    return words.remainder(drawn, words.word(count))


def uniform(
    key: int, purpose: tuple[Any, ...], epoch: int, examples: np.ndarray, words: Words
) -> np.ndarray:
    """Draws a number in 0 ≤ u < 1 for each example, a multiple of 2**-24.

    Args:
        key: Of the training, 0..2**32-1.
        purpose: What is drawn, and which draw of it: 0..2**32-1 each; the last may be words that broadcast
            against `examples`.
        epoch: Number of the epoch.
        examples: Numbers of examples `[n]`.
        words: The arithmetic, NumPy's.

    Returns:
        float64 `[n]`, or as broadcast.
    """
    *first, last = purpose
    drawn = draw(folded(key, *first), last, epoch, examples, words)
    return np.asarray(words.shift_right(drawn, words.word(8)), np.float64) / 2**24
