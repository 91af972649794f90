"""The one place that chooses Keras and imports tfmot.

tfmot builds on tf_keras (Keras 2). Everything in tfqkd takes `tf`, `keras` and `tfmot` from here, never
`tf.keras` and never the `keras` package, so that every model belongs to the same Keras.
"""

import os
import sys

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import tensorflow as tf

# tfmot looks for a module of Keras 2 in Keras 3, and does without it: finding that out would load Keras 3
# whole, a third of the time that these imports take. None tells Python that there is no such package.
_no_keras3 = "keras" not in sys.modules
if _no_keras3:
    sys.modules["keras"] = None  # type: ignore[assignment]
import tensorflow_model_optimization as tfmot

if _no_keras3:
    del sys.modules["keras"]
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
