"""What an integer graph computes, in NumPy: exact sums of products, each rounded once."""

import numpy as np

from tfqkd.export.integer.graph import HIGHEST, LOWEST, Kind


def run(graph, pixels, codes=None):
    """Returns the codes of every tensor, int64 [N, ...].

    Args:
        graph: The graph.
        pixels: Whole numbers 0 to 255, [N, H, W, C].
        codes: What another one has computed for some tensors, by index: read in place of this one's own.
    """
    first, image = graph.tensors[0], graph.image
    values = pixels.astype(np.float64) * image.gain + image.offset
    made = {0: rounded(values, first)}
    for operation in graph.operations:
        inputs = [(codes or made).get(index, made[index]) for index in operation.inputs]
        sources = [graph.tensors[index] for index in operation.inputs]
        shifted = [each - source.zero_point for each, source in zip(inputs, sources, strict=True)]
        made[operation.output] = computed(
            operation, shifted, sources, graph.tensors[operation.output]
        )
    return [made[index] for index in range(len(graph.tensors))]


def rounded(values, target):
    codes = np.rint(values / np.float64(target.scale)) + target.zero_point
    return np.clip(codes, LOWEST, HIGHEST).astype(np.int64)


def computed(operation, inputs, sources, target):
    if operation.kind in (Kind.MAXIMUM, Kind.PADDING, Kind.RESHAPE):
        return moved(operation, inputs[0], target) + target.zero_point
    if operation.kind is Kind.ADDITION:
        values = sum(
            x * np.float64(source.scale) for x, source in zip(inputs, sources, strict=True)
        )
    elif operation.kind is Kind.MEAN:
        values = inputs[0].mean(axis=(1, 2), keepdims=len(target.shape) == 3)
        values = values * np.float64(sources[0].scale)
    else:
        kernel = operation.kernel
        sums = products(operation, inputs[0]) + kernel.bias
        values = sums * kernel.scales.astype(np.float64) * np.float64(sources[0].scale)
    values = np.maximum(values, 0) if operation.rectifies else values
    values = values if operation.ceiling is None else np.minimum(values, operation.ceiling)
    return rounded(values, target)


def products(operation, x):
    weights = operation.kernel.stored.astype(np.int64)
    if operation.kind is Kind.DENSE:
        return x @ weights.T
    size, strides, dilation = weights.shape[1:3], operation.strides, operation.dilation
    reach = [(length - 1) * rate + 1 for length, rate in zip(size, dilation, strict=True)]
    x = padded(x, reach, strides, operation.padding, 0)
    rows, columns = (
        (length - span) // stride + 1
        for length, span, stride in zip(x.shape[1:3], reach, strides, strict=True)
    )
    total = 0
    for i in range(size[0]):
        for j in range(size[1]):
            top, left = i * dilation[0], j * dilation[1]
            part = x[:, top:, left:][:, :: strides[0], :: strides[1]][:, :rows, :columns]
            if operation.kind is Kind.CONVOLUTION:
                total = total + part @ weights[:, i, j].T
            else:
                total = (
                    total
                    + np.repeat(part, weights.shape[3] // x.shape[3], axis=3) * weights[0, i, j]
                )
    return total


def moved(operation, x, target):
    if operation.kind is Kind.RESHAPE:
        return x.reshape(len(x), *target.shape)
    if operation.kind is Kind.PADDING:
        return np.pad(x, ((0, 0), *operation.margins, (0, 0)))
    window, strides = operation.window, operation.strides
    x = padded(x, window, strides, operation.padding, -(10**6))
    views = np.lib.stride_tricks.sliding_window_view(x, window, axis=(1, 2))
    return views[:, :: strides[0], :: strides[1]].max(axis=(-2, -1))


def padded(x, reach, strides, padding, value):
    """Pads as Keras does: as many windows as strides, the odd row at the bottom."""
    if padding == "valid":
        return x
    margins = []
    for length, span, stride in zip(x.shape[1:3], reach, strides, strict=True):
        total = max((-(-length // stride) - 1) * stride + span - length, 0)
        margins.append((total // 2, total - total // 2))
    return np.pad(x, ((0, 0), *margins, (0, 0)), constant_values=value)
