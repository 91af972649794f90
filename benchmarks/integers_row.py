"""A file on its stock runtime, as it is: `python -m benchmarks.integers_row FILE THREADS`."""

import sys
from collections.abc import Callable

import numpy as np

from benchmarks.contestant import serve

_IMAGES = 20
"""In a step: one takes well under a millisecond."""


def prepare() -> Callable[[int], None]:
    """Returns what runs so many steps of one image at a time."""
    path, threads = sys.argv[1], int(sys.argv[2])
    once = (_by_onnxruntime if path.endswith(".onnx") else _by_litert)(path, threads)

    def run(steps: int) -> None:
        for _ in range(steps * _IMAGES):
            once()

    run(1)
    return run


def _by_litert(path: str, threads: int) -> Callable[[], None]:
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415

    interpreter = Interpreter(path, num_threads=threads)
    interpreter.allocate_tensors()
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    image = np.random.default_rng(0).integers(0, 256, taken["shape"]).astype(taken["dtype"])

    def once() -> None:
        interpreter.set_tensor(taken["index"], image)
        interpreter.invoke()
        interpreter.get_tensor(given["index"])

    return once


def _by_onnxruntime(path: str, threads: int) -> Callable[[], None]:
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    shape = (1, *taken.shape[1:])
    image = np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)

    def once() -> None:
        session.run(None, {taken.name: image})

    return once


if __name__ == "__main__":
    serve(prepare)
