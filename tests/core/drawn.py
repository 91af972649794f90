"""Prints what JAX or PyTorch draws; run by test_views.py in an environment that has it: `drawn.py jax`."""

import json
import sys

from tfqkd.core.views import MASK, Words, draw_numbers, draw_order

CASES = [(0, 0), (7, 3), (2**32 - 1, 199)]
"""Keys and epochs."""
COUNT, VIEWS = 257, 162


def jax_words() -> Words:
    import jax.numpy as jnp

    return Words(
        word=jnp.uint32,
        add=jnp.add,
        multiply=jnp.multiply,
        xor=jnp.bitwise_xor,
        shift_right=jnp.right_shift,
        remainder=jnp.remainder,
        argsort=lambda words: jnp.argsort(words, stable=True),
    )


def torch_words() -> Words:
    """PyTorch has no arithmetic for uint32: the low half of int64 stands for it."""
    import torch

    return Words(
        word=lambda value: torch.as_tensor(value, dtype=torch.int64),
        add=lambda a, b: (a + b) & MASK,
        multiply=lambda a, b: (a * b) & MASK,
        xor=torch.bitwise_xor,
        shift_right=torch.bitwise_right_shift,
        remainder=torch.remainder,
        argsort=lambda words: torch.argsort(words, stable=True),
    )


def drawn(words: Words) -> list[list[list[int]]]:
    examples = words.word(list(range(COUNT)))
    return [
        [
            draw_order(key, epoch, examples, words).tolist(),
            draw_numbers(key, epoch, examples, VIEWS, words).tolist(),
        ]
        for key, epoch in CASES
    ]


if __name__ == "__main__":
    print(json.dumps(drawn({"jax": jax_words, "torch": torch_words}[sys.argv[1]]())))
