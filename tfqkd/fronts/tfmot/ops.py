"""TensorFlow's functions for the maths of the core."""

from typing import Any, Literal

import tensorflow as tf

from tfqkd.core.ops import Ops


def _rank(x: tf.Tensor) -> int | None:
    return tf.TensorShape(x.shape).rank


def _shape(x: tf.Tensor) -> tuple:
    if _rank(x) is None:
        return tf.shape(x)
    known = tuple(x.shape)
    if None not in known:
        return known
    traced = tf.shape(x)
    return tuple(traced[axis] if size is None else size for axis, size in enumerate(known))


def _take_along_last_axis(x: tf.Tensor, indices: tf.Tensor, axis: int) -> tf.Tensor:
    return tf.gather(x, indices, axis=axis, batch_dims=len(x.shape) - 1)


def _categorical_crossentropy(
    target: tf.Tensor, output: tf.Tensor, from_logits: Literal[True]
) -> tf.Tensor:
    return tf.nn.softmax_cross_entropy_with_logits(labels=target, logits=output)


def _binary_crossentropy(
    target: tf.Tensor, output: tf.Tensor, from_logits: Literal[True]
) -> tf.Tensor:
    return tf.nn.sigmoid_cross_entropy_with_logits(labels=target, logits=output)


def _reduction(function: Any) -> Any:
    return lambda x, axis=None, keepdims=False: function(x, axis, keepdims)


def _exactly(value: tf.Tensor, surrogate: tf.Tensor) -> tf.Tensor:
    """Costs nothing: TensorFlow prunes a surrogate of which only the gradient is asked for."""

    @tf.custom_gradient
    def grafted(kept: tf.Tensor, _: tf.Tensor) -> tuple:
        return tf.identity(kept), lambda upstream: (None, upstream)

    return grafted(tf.stop_gradient(value), surrogate)


OPS = Ops(
    name="tensorflow",
    accurate="float64",
    abs=tf.abs,
    sign=tf.sign,
    floor=tf.floor,
    round=tf.round,
    tanh=tf.tanh,
    rsqrt=tf.math.rsqrt,
    clip=tf.clip_by_value,
    minimum=tf.minimum,
    maximum=tf.maximum,
    divide_no_nan=tf.math.divide_no_nan,
    logical_and=tf.logical_and,
    logical_or=tf.logical_or,
    equal=tf.equal,
    all=tf.reduce_all,
    where=tf.where,
    sum=_reduction(tf.reduce_sum),
    mean=_reduction(tf.reduce_mean),
    max=_reduction(tf.reduce_max),
    argmax=tf.argmax,
    sort=tf.sort,
    cumsum=tf.cumsum,
    take_along_axis=_take_along_last_axis,
    softmax=tf.nn.softmax,
    log_softmax=tf.nn.log_softmax,
    logsumexp=tf.reduce_logsumexp,
    sigmoid=tf.sigmoid,
    categorical_crossentropy=_categorical_crossentropy,
    binary_crossentropy=_binary_crossentropy,
    exp=tf.exp,
    log=tf.math.log,
    sqrt=tf.sqrt,
    convert_to_tensor=tf.convert_to_tensor,
    cast=tf.cast,
    shape=_shape,
    ndim=_rank,
    size=tf.size,
    reshape=tf.reshape,
    transpose=tf.transpose,
    stack=tf.stack,
    matmul=tf.matmul,
    arange=lambda count, dtype: tf.range(count, dtype=dtype),
    switch=lambda index, branches: tf.switch_case(tf.cast(index, tf.int32), branches),
    stop_gradient=tf.stop_gradient,
    exactly=_exactly,
)
