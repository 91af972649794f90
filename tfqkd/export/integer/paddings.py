"""How many rows and columns operations add around what they read."""

from collections.abc import Sequence

from tfqkd.export.integer.graph import Operation

Pair = tuple[int, int]


def paddings(size: Sequence[int], window: Sequence[int], operation: Operation) -> tuple[Pair, Pair]:
    """Returns the rows and columns before and behind an image, as Keras has them for its padding.

    Args:
        size: Height and width of the image.
        window: Of the kernel, or of what is pooled.
        operation: Its strides, dilation and padding.
    """
    if operation.padding == "valid":
        return (0, 0), (0, 0)
    (top, bottom), (left, right) = (
        _both(length, (reach - 1) * rate + 1, stride)
        for length, reach, rate, stride in zip(
            size, window, operation.dilation, operation.strides, strict=True
        )
    )
    return (top, left), (bottom, right)


def _both(length: int, reach: int, stride: int) -> Pair:
    missing = max((-(-length // stride) - 1) * stride + reach - length, 0)
    return missing // 2, missing - missing // 2
