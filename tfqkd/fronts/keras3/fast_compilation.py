"""Models are made of many programs that run once: JAX need not make them fast."""

import contextlib
from collections.abc import Iterator

import keras


@contextlib.contextmanager
def compiled_quickly() -> Iterator[None]:
    """Lets JAX compile without most optimizations inside.

    The first weights of each shape are drawn by a program of its own; XLA takes five times as long for them
    with optimizations as without, and both give the same numbers.
    """
    if keras.backend.backend() != "jax":
        yield
        return
    # Of the backend; the others may not have it.
    import jax  # noqa: PLC0415

    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)
