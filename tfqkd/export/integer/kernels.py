"""Kernels of an integer graph: the trained codes, with batch normalisation in their scales and biases."""

import dataclasses

import numpy as np

from tfqkd.export.codes import find_codes
from tfqkd.export.integer.graph import HIGHEST, Kernel
from tfqkd.export.verification import ExportError

_LARGEST_BIAS = 2**30
"""A factor 2 below what int32 holds: the sum of the products is added to it."""
_DEAD_BIAS = 2**18
"""Of a channel that is its bias alone: exact enough, and no larger than the others."""
_NEGLIGIBLE = 1 / 8
"""Of a step of the output: a channel whose weights cannot move it further is its bias."""
_SMALLEST_RATIO = 2.0**-16
"""Of the scales of the products and the output, where nothing else tells it: runtimes have a least one."""


@dataclasses.dataclass(frozen=True)
class Affine:
    """A kernel before it is rounded to integers: `gain · scales · codes` and `bias` for each output channel.

    Attributes:
        layer: Its Keras layer.
        codes: int64, shaped as `Kernel.codes`.
        scales: float64 [out], above 0.
        bias: float64 [out].
        axis: The axis of the output channels.
    """

    layer: str
    codes: np.ndarray
    scales: np.ndarray
    bias: np.ndarray
    axis: int

    @classmethod
    def of(
        cls,
        layer: str,
        kernel: np.ndarray,
        bias: np.ndarray | None,
        axis: int,
        order: tuple[int, ...],
    ) -> "Affine":
        """Finds the codes of a Keras kernel.

        Args:
            layer: The layer's name.
            kernel: float32.
            bias: float32 [out], if it has one.
            axis: The axis of the output channels in `kernel`.
            order: Its axes in the order of `Kernel.codes`.

        Raises:
            ExportError: If the kernel is on no grid of 8 bits.
        """
        found = find_codes(kernel, axis)
        if found is None:
            raise ExportError(
                "An integer file needs kernels quantized to at most 8 bits. "
                f"Received: layer '{layer}', whose kernel is not. Nothing was written. Quantize "
                "every layer: tfqkd.quantize_model(model, tfqkd.DeployScheme())."
            )
        codes = found.codes.astype(np.int64).transpose(order)
        scales = found.scales.astype(np.float64)
        none = np.zeros(len(scales)) if bias is None else bias.astype(np.float64)
        return cls(layer, codes, scales, none, order.index(axis))

    def scaled(self, gain: np.ndarray, offset: np.ndarray) -> "Affine":
        """Returns it with each channel multiplied and added to, as a batch normalisation behind it does."""
        return Affine(
            self.layer,
            self.codes * self._along(np.where(gain < 0, -1, 1)),
            self.scales * np.abs(gain),
            self.bias * gain + offset,
            self.axis,
        )

    def rounded(self, scale_in: np.float32, scale_out: np.float32) -> Kernel:
        """Returns the kernel of an operation between tensors of these scales.

        A channel whose weights are next to nothing, as after a batch normalisation that has died away, keeps
        its bias alone: in units of such weights that would not fit int32.

        Raises:
            ExportError: If a bias that matters does not fit int32, or a code is beyond int8.
        """
        if self.codes.max() > HIGHEST:
            raise ExportError(
                "A weight's code must be -128 to 127. "
                f"Received: layer '{self.layer}', whose batch normalisation has a negative factor, which "
                "makes 128 of the code -128. Nothing was written. Train it with UniformQuantizer(8), with "
                "the codes -127 to 127."
            )
        units = self.scales * float(scale_in)
        others = tuple(axis for axis in range(self.codes.ndim) if axis != self.axis)
        reach = 255 * np.abs(self.codes).sum(axis=others) * units
        is_alive = reach >= _NEGLIGIBLE * float(scale_out)
        codes = np.where(self._along(is_alive), self.codes, 0)
        least = np.maximum(np.abs(self.bias) / _DEAD_BIAS, float(scale_out) * _SMALLEST_RATIO)
        factor = self._factor(np.abs(self.bias[is_alive]) / units[is_alive])
        scales = np.where(is_alive, self.scales / factor, least / float(scale_in)).astype(
            np.float32
        )
        bias = np.rint(self.bias / (scales.astype(np.float64) * float(scale_in)))
        return Kernel(codes.astype(np.int8), factor, scales, bias.astype(np.int32), self.axis)

    def _factor(self, biases: np.ndarray) -> int:
        """Returns by what the codes can be multiplied so that they and the biases fit."""
        largest = max(1, int(np.abs(self.codes).max()))
        room = _LARGEST_BIAS / max(1.0, float(biases.max(initial=1.0)))
        if room < 1:
            raise ExportError(
                "A bias must fit 32 bits in units of the scales of weights and input. "
                f"Received: layer '{self.layer}', with a bias of {biases.max():.1e} such units. Nothing was "
                "written. Export to litert-int8, and look at the layer's batch normalisation."
            )
        return max(
            2**power for power in range(7) if power == 0 or 2**power <= min(room, HIGHEST / largest)
        )

    def _along(self, values: np.ndarray) -> np.ndarray:
        shape = [1] * self.codes.ndim
        shape[self.axis] = -1
        return values.reshape(shape)
