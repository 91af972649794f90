"""TensorFlow's unsigned 32-bit arithmetic, for the hash of `tfqkd.core.views`."""

import functools
from typing import Any

from tfqkd.compat import tf
from tfqkd.core.views import Words


def _words(values: Any) -> tf.Tensor:
    if isinstance(values, int):
        return tf.constant(values, tf.uint32)
    return tf.cast(values, tf.uint32)


TENSORFLOW = Words(
    word=_words,
    add=tf.add,
    multiply=tf.multiply,
    xor=tf.bitwise.bitwise_xor,
    shift_right=tf.bitwise.right_shift,
    remainder=tf.math.floormod,
    argsort=functools.partial(tf.argsort, stable=True),
)
