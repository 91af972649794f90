"""A file on the stock LiteRT interpreter: `python -m benchmarks.integers_row FILE THREADS`."""

import sys
from collections.abc import Callable

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from benchmarks.worker import serve

_IMAGES = 20
"""In a step: one takes well under a millisecond."""


def prepare() -> Callable[[int], None]:
    """Returns what runs so many steps of one image at a time."""
    interpreter = Interpreter(sys.argv[1], num_threads=int(sys.argv[2]))
    interpreter.allocate_tensors()
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    image = np.random.default_rng(0).integers(0, 256, taken["shape"]).astype(taken["dtype"])

    def run(steps: int) -> None:
        for _ in range(steps * _IMAGES):
            interpreter.set_tensor(taken["index"], image)
            interpreter.invoke()
            interpreter.get_tensor(given["index"])

    run(1)
    return run


if __name__ == "__main__":
    serve(prepare)
