"""The functions that a training step computes with, as a table that its front hands in.

The maths of tfqkd is written once, over such a table: TensorFlow's for the tfmot front, Keras' for the
keras3 front, NumPy's for tests and for what needs no gradient.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

Tensor = Any
"""An array of any framework: what the functions of a table take and return."""


@dataclasses.dataclass(frozen=True)
class Ops:
    """The functions of one framework, under the names and with the arguments of `keras.ops`.

    Attributes:
        name: Of the framework.
        accurate: Name of the widest float that the framework computes in.
        abs: Magnitude.
        sign: -1, 0 or 1.
        floor: The largest integer not above.
        round: The nearest integer, halves to even.
        tanh: Hyperbolic tangent.
        rsqrt: `1/sqrt(x)`.
        clip: `(x, low, high)`.
        minimum: The smaller of two.
        maximum: The larger of two.
        divide_no_nan: Quotient, zero where the divisor is.
        logical_and: Of two.
        logical_or: Of two.
        equal: Of two.
        all: `(x, axis=None)`.
        where: `(condition, x, y)`.
        sum: `(x, axis=None, keepdims=False)`.
        mean: `(x, axis=None, keepdims=False)`.
        max: `(x, axis=None, keepdims=False)`.
        argmax: `(x, axis)`.
        sort: `(x, axis)`, rising.
        cumsum: `(x, axis)`.
        take_along_axis: `(x, indices, axis)`, along the last axis.
        softmax: `(x, axis)`.
        log_softmax: `(x, axis)`.
        logsumexp: `(x, axis)`: the logarithm of the sum of `e^x`.
        sigmoid: `1/(1 + e^-x)`.
        categorical_crossentropy: `(target, output, from_logits=True)`: of logits alone, over the last axis.
        binary_crossentropy: `(target, output, from_logits=True)`: of logits alone, of each.
        exp: `e^x`.
        log: Natural logarithm.
        sqrt: `√x`.
        convert_to_tensor: `(x, dtype)`: a number or an array as a tensor.
        cast: `(x, dtype)`, the dtype by name.
        shape: The shape as a tuple; what is unknown while a step is traced is a scalar tensor.
        ndim: The number of axes, or None where it is unknown.
        size: The number of elements.
        reshape: `(x, shape)`.
        transpose: `(x, axes)`.
        stack: A list of tensors along a new first axis.
        matmul: Products of the matrices in the last two axes.
        arange: `(count, dtype)`: 0 to `count - 1`.
        switch: `(index, branches)`: what the function at the index returns.
        stop_gradient: The value without its gradient.
        exactly: `(value, surrogate)`, where the framework can do `exactly` without computing the surrogate;
            None where it cannot.
    """

    name: str
    accurate: str
    abs: Callable[..., Tensor]
    sign: Callable[..., Tensor]
    floor: Callable[..., Tensor]
    round: Callable[..., Tensor]
    tanh: Callable[..., Tensor]
    rsqrt: Callable[..., Tensor]
    clip: Callable[..., Tensor]
    minimum: Callable[..., Tensor]
    maximum: Callable[..., Tensor]
    divide_no_nan: Callable[..., Tensor]
    logical_and: Callable[..., Tensor]
    logical_or: Callable[..., Tensor]
    equal: Callable[..., Tensor]
    all: Callable[..., Tensor]
    where: Callable[..., Tensor]
    sum: Callable[..., Tensor]
    mean: Callable[..., Tensor]
    max: Callable[..., Tensor]
    argmax: Callable[..., Tensor]
    sort: Callable[..., Tensor]
    cumsum: Callable[..., Tensor]
    take_along_axis: Callable[..., Tensor]
    softmax: Callable[..., Tensor]
    log_softmax: Callable[..., Tensor]
    logsumexp: Callable[..., Tensor]
    sigmoid: Callable[..., Tensor]
    categorical_crossentropy: Callable[..., Tensor]
    binary_crossentropy: Callable[..., Tensor]
    exp: Callable[..., Tensor]
    log: Callable[..., Tensor]
    sqrt: Callable[..., Tensor]
    convert_to_tensor: Callable[..., Tensor]
    cast: Callable[..., Tensor]
    shape: Callable[..., tuple]
    ndim: Callable[..., int | None]
    size: Callable[..., Tensor]
    reshape: Callable[..., Tensor]
    transpose: Callable[..., Tensor]
    stack: Callable[..., Tensor]
    matmul: Callable[..., Tensor]
    arange: Callable[..., Tensor]
    switch: Callable[..., Any]
    stop_gradient: Callable[..., Tensor]
    exactly: Callable[[Tensor, Tensor], Tensor] | None = None


def exactly(value: Tensor, surrogate: Tensor, ops: Ops) -> Tensor:
    """Returns `value`, bit for bit, with the gradient of `surrogate`.

    With `sg` for the value without its gradient: `sg(value) - (sg(surrogate) - surrogate)`. The difference
    is zero and its gradient that of `-surrogate`. Subtracting zero keeps a zero's sign, adding it does not;
    `surrogate + sg(value - surrogate)`, as often seen, rounds.

    Args:
        value: The result of the forward pass.
        surrogate: Of the same shape, finite.
        ops: The table of their framework.
    """
    if ops.exactly is not None:
        return ops.exactly(value, surrogate)
    return ops.stop_gradient(value) - (ops.stop_gradient(surrogate) - surrogate)


def _log_softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    shifted = x - np.max(x, axis=axis, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))


def _logsumexp(x: np.ndarray, axis: int = -1) -> np.ndarray:
    largest = np.max(x, axis=axis, keepdims=True)
    summed = np.log(np.sum(np.exp(x - largest), axis=axis, keepdims=True))
    return np.squeeze(largest + summed, axis)


def _log_sigmoid(x: np.ndarray) -> np.ndarray:
    return -np.logaddexp(0, -x)


def _categorical_crossentropy(
    target: np.ndarray, output: np.ndarray, from_logits: Literal[True]
) -> np.ndarray:
    return -np.sum(target * _log_softmax(output), axis=-1)


def _binary_crossentropy(
    target: np.ndarray, output: np.ndarray, from_logits: Literal[True]
) -> np.ndarray:
    return -target * _log_sigmoid(output) - (1 - target) * _log_sigmoid(-output)


def _divide_no_nan(x: Any, y: Any) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.equal(y, 0), np.zeros_like(y), np.divide(x, y))


NUMPY = Ops(
    name="numpy",
    accurate="float64",
    abs=np.abs,
    sign=np.sign,
    floor=np.floor,
    round=np.round,
    tanh=np.tanh,
    rsqrt=lambda x: np.reciprocal(np.sqrt(x)),
    clip=np.clip,
    minimum=np.minimum,
    maximum=np.maximum,
    divide_no_nan=_divide_no_nan,
    logical_and=np.logical_and,
    logical_or=np.logical_or,
    equal=np.equal,
    all=np.all,
    where=np.where,
    sum=np.sum,
    mean=np.mean,
    max=np.max,
    argmax=np.argmax,
    sort=np.sort,
    cumsum=np.cumsum,
    take_along_axis=np.take_along_axis,
    softmax=lambda x, axis=-1: np.exp(_log_softmax(x, axis)),
    log_softmax=_log_softmax,
    logsumexp=_logsumexp,
    sigmoid=lambda x: np.exp(_log_sigmoid(x)),
    categorical_crossentropy=_categorical_crossentropy,
    binary_crossentropy=_binary_crossentropy,
    exp=np.exp,
    log=np.log,
    sqrt=np.sqrt,
    convert_to_tensor=np.asarray,
    cast=lambda x, dtype: np.asarray(x).astype(dtype),
    shape=np.shape,
    ndim=np.ndim,
    size=np.size,
    reshape=np.reshape,
    transpose=np.transpose,
    stack=np.stack,
    matmul=np.matmul,
    arange=lambda count, dtype: np.arange(count, dtype=dtype),
    switch=lambda index, branches: branches[int(index)](),
    stop_gradient=lambda x: x,
)

_TABLES: dict[str, Ops | str] = {
    "numpy": NUMPY,
    "tensorflow": "tfqkd.fronts.tfmot.ops",
    "tf_keras": "tfqkd.fronts.tfmot.ops",
    "jax": "tfqkd.fronts.keras3.ops",
    "jaxlib": "tfqkd.fronts.keras3.ops",
    "torch": "tfqkd.fronts.keras3.ops",
    "keras": "tfqkd.fronts.keras3.ops",
}
"""The table for tensors of a package, or the module whose `OPS` it is: imported when such a tensor comes."""


def ops_of(tensor: Tensor) -> Ops:
    """Returns the table for a tensor, by the package that its type comes from.

    Args:
        tensor: Of NumPy, TensorFlow, Keras, JAX or PyTorch.

    Raises:
        TypeError: If it is of another package.
    """
    package = type(tensor).__module__.partition(".")[0]
    table = _TABLES.get(package)
    if table is None:
        raise TypeError(
            f"A tensor must be of one of {', '.join(_TABLES)}. Received: {type(tensor)}. "
            "Convert it with numpy.asarray, or pass the table of its functions as `ops`."
        )
    # A built-in function: TensorFlow's AutoGraph would try to rewrite what importlib does.
    return __import__(table, fromlist=["OPS"]).OPS if isinstance(table, str) else table
