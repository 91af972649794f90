"""DoReFa-Net's quantizers of weights and of gradients (arXiv 1606.06160)."""

from tfqkd.core.ops import Ops, Tensor, exactly, ops_of
from tfqkd.core.steps import largest_code


def level_count(bits: int) -> int:
    """Returns `n = 2^b - 1`: a weight takes the `n + 1` values `(2i - n)/n`, so that zero is none of them.

    Raises:
        ValueError: If `bits` is not 2 to 8.
    """
    return 2 * largest_code(bits) + 1


def dorefa(weights: Tensor, bits: int, ops: Ops | None = None) -> Tensor:
    """Returns `2·quantize_b(tanh(w)/(2·max|tanh(w)|) + 1/2) - 1` (arXiv 1606.06160, equation 9).

    `quantize_b(x) = round(n·x)/n` with `n = 2^b - 1`. The values are in [-1, 1] whatever the scale of the
    weights: a batch norm should follow. Gradient: straight through the rounding (equation 5), and the exact
    derivative of what stands around it, the maximum included.

    Args:
        weights: Latent weights, any shape, float.
        bits: 2 to 8.
        ops: The functions to compute with; by default those of the weights' framework.

    Returns:
        Odd integers from -n to n, divided by n: dtype and shape of `weights`.
    """
    ops = ops or ops_of(weights)
    levels = level_count(bits)
    squashed = ops.tanh(weights)
    normalized = ops.divide_no_nan(squashed, ops.max(ops.abs(squashed)))
    codes = 2 * ops.round(levels * (normalized / 2 + 0.5)) - levels
    return exactly(codes / levels, normalized, ops)


def rounded_gradient(gradient: Tensor, noise: Tensor, bits: int, ops: Ops | None = None) -> Tensor:
    """Returns a gradient rounded stochastically (arXiv 1606.06160, equation 12).

    With `m` the largest `|g|` of the example, `n = 2^b - 1` and `σ` uniform in [-1/2, 1/2]:

        2m · (quantize_b(g/2m + 1/2 + σ/n) - 1/2)

    clipped to [-m, m]. Rounding to nearest behind the noise is stochastic rounding: between the outermost
    levels the expected value is `g`. A front puts it into the backward pass of an identity.

    Args:
        gradient: By the output of a layer, [N, ...], float.
        noise: `σ`, of the same shape, float32.
        bits: 2 to 8.
        ops: The functions to compute with; by default those of the gradient's framework.

    Returns:
        The gradient in its own dtype and shape.
    """
    ops = ops or ops_of(gradient)
    levels = level_count(bits)
    exact = ops.cast(gradient, "float32")
    axes = tuple(range(1, len(gradient.shape)))
    twice = 2 * ops.max(ops.abs(exact), axis=axes, keepdims=True)
    code = levels * (ops.divide_no_nan(exact, twice) + 0.5) + noise
    unit = ops.round(ops.clip(code, 0.0, float(levels))) / levels
    return ops.cast(twice * (unit - 0.5), gradient.dtype)
