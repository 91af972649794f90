"""Scales and biases of few digits, which take 16 bits each in a packed file."""

import dataclasses

import numpy as np

from tfqkd.export.integer.graph import Graph, Kernel

_SCALE_DIGITS, _BIAS_DIGITS = 13, 12
"""In base 2. Rounded so, a scale moves the largest code by at most a 32nd of a step, and so does a bias as
large as the range of the output."""
_STEPS = 7
"""How many digits the largest bias of a kernel may have beside those that it keeps, before all lose some."""


def with_few_digits(graph: Graph) -> Graph:
    """Returns a graph whose kernels have scales of 13 and biases of 12 digits in base 2."""
    return dataclasses.replace(
        graph,
        operations=tuple(
            each if each.kernel is None else dataclasses.replace(each, kernel=_rounded(each.kernel))
            for each in graph.operations
        ),
    )


def shifts_of(magnitudes: np.ndarray) -> tuple[np.ndarray, int]:
    """Returns by how many bits each bias of a kernel is shifted, and the least number of them.

    Args:
        magnitudes: |bias|, int64.
    """
    exponents = np.frexp(magnitudes.astype(np.float64))[1].astype(np.int64)
    least = max(0, int(exponents.max()) - _BIAS_DIGITS - _STEPS)
    return np.maximum(least, exponents - _BIAS_DIGITS), least


def _rounded(kernel: Kernel) -> Kernel:
    old = kernel.scales.astype(np.float64)
    fractions, exponents = np.frexp(old)
    scales = np.ldexp(np.rint(np.ldexp(fractions, _SCALE_DIGITS)), exponents - _SCALE_DIGITS)
    scales = scales.astype(np.float32)
    # In units of the new scales.
    values = kernel.bias * (old / scales)
    units = 1 << shifts_of(np.abs(values).astype(np.int64))[0]
    bias = np.rint(values / units) * units
    return dataclasses.replace(kernel, scales=scales, bias=bias.astype(np.int32))
