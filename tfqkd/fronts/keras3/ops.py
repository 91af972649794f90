"""The table of `keras.ops`: the core computes with it on whichever backend Keras 3 has."""

import keras

from tfqkd.core.ops import Ops

_ops = keras.ops

# JAX has no float64 unless the whole program asks for it, and PyTorch's `cumsum` drops it in silence.
_ACCURATE = "float64" if keras.backend.backend() == "tensorflow" else "float32"

OPS = Ops(
    name="keras",
    accurate=_ACCURATE,
    abs=_ops.abs,
    sign=_ops.sign,
    floor=_ops.floor,
    round=_ops.round,
    tanh=_ops.tanh,
    rsqrt=_ops.rsqrt,
    clip=_ops.clip,
    minimum=_ops.minimum,
    maximum=_ops.maximum,
    divide_no_nan=_ops.divide_no_nan,
    logical_and=_ops.logical_and,
    logical_or=_ops.logical_or,
    equal=_ops.equal,
    where=_ops.where,
    sum=_ops.sum,
    mean=_ops.mean,
    max=_ops.max,
    all=_ops.all,
    logsumexp=_ops.logsumexp,
    sigmoid=_ops.sigmoid,
    categorical_crossentropy=_ops.categorical_crossentropy,
    binary_crossentropy=_ops.binary_crossentropy,
    sqrt=_ops.sqrt,
    ndim=_ops.ndim,
    size=_ops.size,
    argmax=_ops.argmax,
    sort=_ops.sort,
    cumsum=_ops.cumsum,
    take_along_axis=_ops.take_along_axis,
    softmax=_ops.softmax,
    log_softmax=_ops.log_softmax,
    exp=_ops.exp,
    log=_ops.log,
    convert_to_tensor=_ops.convert_to_tensor,
    cast=_ops.cast,
    shape=_ops.shape,
    reshape=_ops.reshape,
    transpose=_ops.transpose,
    stack=_ops.stack,
    matmul=_ops.matmul,
    arange=lambda count, dtype: _ops.arange(count, dtype=dtype),
    switch=_ops.switch,
    stop_gradient=_ops.stop_gradient,
)
"""`tfqkd.core.ops.Ops` over `keras.ops`."""
