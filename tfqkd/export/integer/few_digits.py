"""Scales and biases of few digits, which take 16 bits each in a packed file."""

import dataclasses

import numpy as np

from tfqkd.export.integer.graph import Graph, Kernel

_SCALE_DIGITS, _BIAS_DIGITS = 13, 11
"""In base 2: next to the half of an output's step that rounding adds, a scale of this many moves the largest
code by a thirtieth of a step, and a bias as large as the range of the output by a sixteenth."""


def with_few_digits(graph: Graph) -> Graph:
    """Returns a graph whose kernels have scales of 13 and biases of 11 digits in base 2."""
    return dataclasses.replace(
        graph,
        operations=tuple(
            each if each.kernel is None else dataclasses.replace(each, kernel=_rounded(each.kernel))
            for each in graph.operations
        ),
    )


def _rounded(kernel: Kernel) -> Kernel:
    scales = _to_digits(kernel.scales.astype(np.float64), _SCALE_DIGITS).astype(np.float32)
    # In units of the new scales.
    values = kernel.bias * (kernel.scales.astype(np.float64) / scales)
    bias = _to_digits(np.rint(values), _BIAS_DIGITS)
    return dataclasses.replace(kernel, scales=scales, bias=bias.astype(np.int32))


def _to_digits(values: np.ndarray, digits: int) -> np.ndarray:
    fractions, exponents = np.frexp(values)
    return np.ldexp(np.rint(np.ldexp(fractions, digits)), exponents - digits)
