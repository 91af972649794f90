"""Finds the integer codes behind a kernel whose channels take few values."""

import dataclasses

import numpy as np

from tfqkd.runtime.packing import width_of

# A folded weight is code × step × batch-norm factor in float32: three roundings of 2^-24 each,
# against a peak that carries as many. 2^-21 leaves room for them and is still float32 noise.
_ROUNDING = 2.0**-21
_CHANNEL_BYTES = 12  # A float32 scale and an int64 zero point, as TFLite stores them.


@dataclasses.dataclass(frozen=True)
class CodedKernel:
    """A kernel as codes times one scale per channel.

    Attributes:
        codes: int8, shaped as the kernel; the codes of a channel have no common divisor.
        scales: float32 [channels]; codes × scales is the kernel up to float32 rounding.
        axis: The kernel's channel axis.
    """

    codes: np.ndarray
    scales: np.ndarray
    axis: int

    @property
    def max_code(self) -> int:
        """The largest |code|: 1 for a ternary kernel."""
        return int(np.abs(self.codes.astype(int)).max())

    @property
    def bits(self) -> int:
        """How many bits a stored code takes: 2, 4 or 8."""
        return width_of(int(self.codes.min()), int(self.codes.max()))

    @property
    def values(self) -> np.ndarray:
        """The kernel that codes and scales stand for, float32."""
        shape = [1] * self.codes.ndim
        shape[self.axis] = -1
        return self.codes * self.scales.reshape(shape)


def find_codes(kernel: np.ndarray, axis: int, bits: int = 8) -> CodedKernel | None:
    """Returns a kernel's codes and scales, or None if a channel is no multiple of a step.

    Each channel gets the fewest levels L ≤ 2^(bits−1) for which every w·L/max|w| is an integer, and
    as its scale the least-squares fit Σ code·w / Σ code², which is w itself where the codes are ±1.
    Codes are −2^(bits−1) to 2^(bits−1) − 1. A channel of zeros has the scale 1.

    Args:
        kernel: float32 weights.
        axis: The axis of its output channels, counted from 0.
        bits: 2 to 8, how many bits a code may take.
    """
    levels = np.arange(1, 2 ** (bits - 1) + 1)
    channels = np.moveaxis(kernel, axis, 0)
    codes = np.zeros(channels.shape, np.int8)
    scales = np.ones(len(channels), np.float32)
    for index, channel in enumerate(channels.astype(np.float64)):
        if not channel.any():
            continue
        found = _codes(channel, levels)
        if found is None or found.max() == 2 ** (bits - 1):
            return None
        codes[index] = found
        scales[index] = np.vdot(found, channel) / np.vdot(found, found)
    return CodedKernel(np.moveaxis(codes, 0, axis), scales, axis)


def round_to_codes(kernel: np.ndarray, axis: int) -> CodedKernel:
    """Returns the nearest kernel of 8-bit codes, with the step max|w| / 127 for each channel.

    Args:
        kernel: float32 weights.
        axis: The axis of its output channels, counted from 0.
    """
    others = tuple(index for index in range(kernel.ndim) if index != axis)
    peaks = np.abs(kernel).max(axis=others, keepdims=True)
    scales = np.where(peaks > 0, peaks / np.float32(127), np.float32(1))
    codes = np.rint(kernel / scales).clip(-127, 127).astype(np.int8)
    return CodedKernel(codes, scales.reshape(-1).astype(np.float32), axis)


def find_planes(kernel: np.ndarray, axis: int) -> tuple[CodedKernel, ...]:
    """Returns the coded kernels whose sum a kernel is: one, two for asymmetric levels, or none.

    Trained ternary quantization (arXiv 1612.01064) has the levels −n, 0 and p of a channel, which no
    single scale gives. Its positive and its negative weights alone are ternary: one of the two
    planes is 0 wherever the other is not, so that their sum is exact.

    Args:
        kernel: float32 weights.
        axis: The axis of its output channels, counted from 0.
    """
    coded = find_codes(kernel, axis)
    if coded is not None and coded.bits < 8:
        return (coded,)
    planes = [find_codes(part, axis, bits=2) for part in (kernel.clip(min=0), kernel.clip(max=0))]
    found = tuple(plane for plane in planes if plane is not None)
    channels = kernel.shape[axis]
    stored = 2 * (kernel.size * 2 / 8 + channels * _CHANNEL_BYTES)
    # With one weight of each sign a channel, anything has two planes; floats are smaller then.
    if len(found) == 2 and stored < kernel.nbytes:
        return found
    return () if coded is None else (coded,)


def _codes(channel: np.ndarray, levels: np.ndarray) -> np.ndarray | None:
    magnitudes = np.unique(np.abs(channel))
    peak = magnitudes[-1]
    if not np.isfinite(peak):
        return None
    ratios = np.outer(levels, magnitudes / peak)
    errors = np.abs(ratios - np.rint(ratios)).max(axis=1)
    fitting = levels[errors <= levels * _ROUNDING]
    return np.rint(channel / peak * fitting[0]) if fitting.size else None
