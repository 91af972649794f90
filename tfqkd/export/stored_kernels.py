"""Kernels as a file holds them, compared with those of the Keras layers."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tfqkd.export.codes import CodedKernel
from tfqkd.export.owners import ROUNDING, other_channels
from tfqkd.export.report import LayerSize, QuantizedKernel
from tfqkd.export.verification import ExportError
from tfqkd.runtime.packing import unpack


@dataclasses.dataclass(frozen=True)
class StoredKernel:
    """How a file holds a kernel.

    Attributes:
        layers: The Keras layers that it belongs to; more than one if their kernels are equal.
        value: The float32 kernel that the converter wrote.
        order: The axes of `value` in the order output channel, height, width, input channel.
        planes: The coded kernels whose sum it is; none if it stays float.
        bits: How many bits a code of each plane takes.
        is_rounded: Whether the planes are only close to `value`.
        is_direct: Whether operators multiply the codes themselves, without a DEQUANTIZE.
    """

    layers: tuple[str, ...]
    value: np.ndarray
    order: tuple[int, ...]
    planes: tuple[CodedKernel, ...]
    bits: tuple[int, ...]
    is_rounded: bool = False
    is_direct: bool = False

    @property
    def layer(self) -> str:
        """The name of its layer, or names, for messages."""
        return ", ".join(self.layers)

    def rows(self) -> np.ndarray:
        """Returns what the planes stand for, float64 [channels, weights of a channel]."""
        values = np.stack([plane.values for plane in self.planes])
        return as_rows(values.sum(axis=0, dtype=np.float64), self.order)

    def holds_value(self) -> bool:
        """Whether the planes stand for `value`: to float32 rounding, or half a step if rounded."""
        value = as_rows(self.value, self.order)
        allowed = ROUNDING * np.abs(value).max(axis=1)
        if self.is_rounded:
            allowed = 0.501 * self.planes[0].scales
        return bool((np.abs(self.rows() - value) <= allowed[:, np.newaxis]).all())


@dataclasses.dataclass(frozen=True)
class Constant:
    """A constant, as it is read back from a file.

    Attributes:
        data: Its bytes, uint8.
        shape: Its shape.
        bits: How many bits a code takes; None if it holds floats.
        scales: Of codes, those of the channels, float32.
        axis: Of codes, the channel axis.
        has_zero_points: Whether a code other than 0 stands for the value 0.
    """

    data: np.ndarray
    shape: tuple[int, ...]
    bits: int | None = None
    scales: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.float32))
    axis: int | None = None
    has_zero_points: bool = False


@dataclasses.dataclass(frozen=True)
class FoundKernel:
    """A kernel, as it is read back from a file.

    Attributes:
        constants: What it is the sum of.
        is_direct: Whether operators read codes themselves, without a DEQUANTIZE.
    """

    constants: tuple[Constant, ...]
    is_direct: bool = False


def as_rows(value: np.ndarray, order: Sequence[int]) -> np.ndarray:
    """Returns a kernel as [channels, weights of a channel]; `order` is as in `StoredKernel`."""
    return value.transpose(order).reshape(value.shape[order[0]], -1)


def quantized_kernels(kernels: Iterable[StoredKernel]) -> tuple[QuantizedKernel, ...]:
    """Returns what the report says about the kernels that are stored as codes."""
    found = []
    for kernel in kernels:
        if kernel.planes:
            code = max(plane.max_code for plane in kernel.planes)
            size, bits = kernel.value.size, sum(kernel.bits)
            found += [QuantizedKernel(layer, size, code, bits) for layer in kernel.layers]
    return tuple(found)


def float_layers(kernels: Iterable[StoredKernel]) -> tuple[str, ...]:
    """Returns the layers whose kernels stay float."""
    names = [layer for kernel in kernels if not kernel.planes for layer in kernel.layers]
    return tuple(dict.fromkeys(names))


def layer_sizes(
    kernels: Iterable[StoredKernel], other_type: str = "float32"
) -> tuple[LayerSize, ...]:
    """Returns what each kernel takes; those without planes are stored as `other_type`."""

    def size_of(kernel: StoredKernel) -> LayerSize:
        count = kernel.value.size
        if not kernel.planes:
            size = count * np.dtype(other_type).itemsize
            return LayerSize(kernel.layer, count, other_type, size)
        type_ = " + ".join(f"int{bits}" for bits in kernel.bits)
        return LayerSize(
            kernel.layer, count, type_, sum(-(-count * bits // 8) for bits in kernel.bits)
        )

    return tuple(map(size_of, kernels))


def check_kernels(found: Sequence[FoundKernel], expected: Sequence[StoredKernel]) -> None:
    """Compares every kernel of a file that was read back with what should stand there.

    Args:
        found: What the file holds.
        expected: What was written, in the same order: that of the operators that read them.

    Raises:
        ExportError: If a kernel's type, shape, codes, scales, channel axis or values differ, or an
            operator reads codes itself where it should not; it names the layer.
    """
    for kernel, other in zip(expected, found, strict=False):
        _check_kernel(other, kernel)
    if len(found) != len(expected):
        raise wrong_kernel(
            expected[len(found)].layer if len(found) < len(expected) else "behind the last",
            f"{len(found)} kernels in the file instead of {len(expected)}",
        )


def _check_kernel(found: FoundKernel, expected: StoredKernel) -> None:
    layer, constants = expected.layer, found.constants
    bits = tuple(constant.bits for constant in constants if constant.bits is not None)
    if bits != expected.bits:
        raise wrong_kernel(layer, f"codes of {bits} bits instead of {expected.bits}")
    if not expected.planes:
        weights = np.ascontiguousarray(expected.value, "<f4").view(np.uint8)
        if not np.array_equal(constants[0].data.reshape(-1), weights.reshape(-1)):
            raise wrong_kernel(layer, "float32 weights that are not the model's")
        return
    if found.is_direct and not expected.is_direct:
        raise wrong_kernel(layer, "codes that are read directly, without a DEQUANTIZE")
    for constant, width, plane in zip(constants, bits, expected.planes, strict=True):
        if constant.shape != plane.codes.shape:
            raise wrong_kernel(layer, f"shape {constant.shape} instead of {plane.codes.shape}")
        try:
            codes = unpack(constant.data, width, plane.codes.size).reshape(plane.codes.shape)
        except ValueError as error:
            raise wrong_kernel(layer, f"codes that are not complete: {error}") from error
        if not np.array_equal(codes, plane.codes):
            raise wrong_kernel(layer, f"{np.count_nonzero(codes != plane.codes)} other codes")
        same = constant.axis == plane.axis and not constant.has_zero_points
        if not same or not np.array_equal(constant.scales, plane.scales):
            raise wrong_kernel(layer, "other scales, zero points or channel axis")
    if not expected.holds_value():
        raise wrong_kernel(layer, "codes and scales that do not stand for the model's weights")


def wrong_kernel(layer: str, received: str) -> ExportError:
    """Returns the error of a file that does not hold what was written."""
    return ExportError(
        "A file that is read back must hold the codes and scales that were written. Received: "
        f"layer '{layer}' with {received}. Nothing was written. Export to another format, and "
        "report the model."
    )


def check_layers(
    kernels: Sequence[StoredKernel], quantized: Mapping[str, Sequence[np.ndarray]]
) -> None:
    """Compares the kernels of a file with those of the Keras layers that were meant to be quantized.

    Batch normalisation is folded into the file's kernels, so that each of their channels is a
    multiple of the channel in Keras.

    Args:
        kernels: What the file holds.
        quantized: By layer, its Keras kernels, each float32 [channels, weights of a channel].

    Raises:
        ExportError: If such a layer is not stored as codes, or a channel is another one.
    """
    for layer, keras_kernels in quantized.items():
        own = [kernel for kernel in kernels if layer in kernel.layers]
        if not own:
            raise ExportError(
                "Every quantized layer must be stored as codes. Received: layer "
                f"'{layer}', whose kernel the converter puts into an operator that takes floats alone, as of "
                "a recurrent layer that loops over the steps. Nothing was written. Build a recurrent layer "
                "with unroll=True, or export to saved_model."
            )
        stored = [kernel.rows() for kernel in own if kernel.planes]
        for rows in keras_kernels:
            _check_layer(layer, stored, rows)


def _check_layer(layer: str, stored: Sequence[np.ndarray], rows: np.ndarray) -> None:
    # A separable convolution has two kernels, of different shapes.
    alike = [received for received in stored if received.shape == rows.shape]
    if not alike:
        raise ExportError(
            f"Every quantized layer must be stored as codes. Received: layer '{layer}', whose "
            "kernel in the file has no codes of at most 8 bits: its quantizer has other "
            "levels, or the converter has folded more than a factor a channel into it, as of a "
            "batch normalisation before the layer. Nothing was written. Export to "
            "litert-float16 or saved_model, or put the normalisation after the layer."
        )
    wrong = [other_channels(received, rows.astype(np.float64)) for received in alike]
    if all(channels.size for channels in wrong):
        raise ExportError(
            "Each channel of a stored kernel must be a multiple of the channel in Keras. "
            f"Received: layer '{layer}', whose channel {wrong[0][0]} is another one. Nothing was "
            "written. Export to litert-float32, and report the model."
        )
