"""The one place that chooses Keras and imports tfmot.

tfmot builds on tf_keras (Keras 2). Everything in tfqkd takes `tf`, `keras` and `tfmot` from here, never
`tf.keras` and never the `keras` package, so that every model belongs to the same Keras.
"""

import contextlib
import os
import sys
from collections.abc import Iterator

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")


@contextlib.contextmanager
def _without(package: str) -> Iterator[None]:
    """Hides a package that is not imported yet: None tells Python that there is no such package."""
    hidden = package not in sys.modules
    if hidden:
        sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hidden:
            del sys.modules[package]


# TensorFlow looks for JAX, whose functions LiteRT may convert, and tfmot for a module of Keras 2 in Keras 3.
# Both do without: finding that out would load them whole, nearly half of the time that these imports take.
with _without("jax"):
    import tensorflow as tf
with _without("keras"):
    import tensorflow_model_optimization as tfmot

import tf_keras as keras
from tf_keras.src.mixed_precision import autocast_variable

__all__ = ["is_keras3", "keras", "tf", "tfmot", "true_value"]


def true_value(variable: tf.Variable) -> tf.Tensor:
    """Reads a variable in its own dtype, also inside a layer that casts to float16 or bfloat16.

    A step and its codes must come from the float32 latent weight, or the stripped model would differ
    from the wrapped one. Keras offers no public way to read past its automatic cast.
    """
    with autocast_variable.enable_auto_cast_variables(None):
        return tf.convert_to_tensor(variable)


def is_keras3(model: object) -> bool:
    """Whether `model` belongs to Keras 3, whose models tfmot cannot wrap."""
    return any(cls.__module__.split(".")[0] == "keras" for cls in type(model).__mro__)
