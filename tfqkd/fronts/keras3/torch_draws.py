"""PyTorch's own random generators, from which Keras' dropout draws there unless it has a seed."""

import contextlib
from collections.abc import Iterator

import keras


@contextlib.contextmanager
def torch_draws_kept() -> Iterator[None]:
    """Behind it they are where they were before; other backends draw from variables alone."""
    if keras.backend.backend() != "torch":
        yield
        return
    import torch  # noqa: PLC0415 (the backend)

    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        yield
