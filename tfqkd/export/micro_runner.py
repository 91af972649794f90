"""Compares a model for TFLM with the one that it is made of: `... WHOLE MODEL IMAGES.npz OUTPUT.npz`.

Both are files; OUTPUT receives the codes that TFLM's interpreter computes with each, and the smallest arena
of MODEL, in which it ran. Export does so in a process of its own, as with every new file.
"""

import pathlib
import sys
from collections.abc import Sequence

import numpy as np

from tfqkd.runtime.images import as_codes
from tfqkd.runtime.micro import computed, interpreter, smallest_arena
from tfqkd.runtime.signature import INPUT

WHOLE, CODED, ARENA = "whole", "coded", "arena"


def main(arguments: Sequence[str]) -> None:
    """Runs both."""
    whole, coded = (pathlib.Path(each).read_bytes() for each in arguments[:2])
    with np.load(arguments[2], allow_pickle=False) as arrays:
        images = as_codes(arrays[INPUT].astype(np.float32), np.int8)
    arena = smallest_arena(coded)
    found = {
        CODED: computed(interpreter(coded, arena), images),
        WHOLE: computed(interpreter(whole, smallest_arena(whole)), images),
        ARENA: np.array(arena),
    }
    np.savez(arguments[3], allow_pickle=False, **found)


if __name__ == "__main__":
    main(sys.argv[1:])
