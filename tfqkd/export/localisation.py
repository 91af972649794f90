"""Finds the layer where a file goes wrong, when its logits are not those of the model."""

import contextlib
import pathlib
import tempfile
from collections.abc import Callable, Sequence

import numpy as np

from tfqkd.compat import keras
from tfqkd.export.source import Source
from tfqkd.export.verification import ExportError, run_file

_IMAGES = 4


def first_wrong_layer(
    runner: Sequence[str],
    file: pathlib.Path,
    reference: bytes,
    layers: Sequence[str],
    images: np.ndarray,
    cut_after: Callable[[bytes, int], bytes],
    tolerance: float,
) -> str | None:
    """Returns the first layer whose output is not that of the float file.

    Both files are cut off behind a layer and run in a child process; bisection finds the first one
    that crashes, is not finite, or differs.

    Args:
        runner: What runs a file; see `verification.verify`.
        file: The file.
        reference: The content of the float file that the converter wrote, with the same kernels in
            the same order.
        layers: The layers that the kernels belong to, in the order of the operators.
        images: float32 [n, H, W, C] in 0..255.
        cut_after: Called with the content of a file and the number of a kernel, it returns that of
            a file that ends in the output of the operator with this kernel.
        tolerance: By how much an output may differ, relative to its channel's largest value, or to 1
            if that is smaller.

    Returns:
        The layer's name, or None if every layer's output is right.

    Raises:
        ExportError: If the float file does not run.
    """
    content = file.read_bytes()

    def is_wrong(number: int) -> bool:
        cuts = [cut_after(whole, number) for whole in (content, reference)]
        received = None
        with contextlib.suppress(ExportError):
            received = _outputs(runner, cuts[0], file.suffix, images[:_IMAGES])
        # Where the float file fails as well, no kernel is to blame.
        expected = _outputs(runner, cuts[1], file.suffix, images[:_IMAGES])
        if received is None:
            return True
        channel = 1 if file.suffix == ".onnx" else expected.ndim - 1
        return _differs(received, expected, channel, tolerance)

    return _first(layers, is_wrong)


def first_wrong_part(
    source: Source,
    write: Callable[[Source, pathlib.Path], object],
    runner: Sequence[str],
    file_name: str,
    tolerance: float,
) -> str | None:
    """Returns the first layer of the model with which a file of the part up to it is wrong.

    For files that have no float file beside them, and where that is wrong too: slower, since a file
    is written for each part.

    Args:
        source: The model.
        write: Writes the file of a part.
        runner: What runs a file; see `verification.verify`.
        file_name: What the file is called.
        tolerance: See `first_wrong_layer`.

    Returns:
        The layer's name, or None if the file of every part is right.
    """
    inputs = keras.layers.InputLayer
    layers = [layer.name for layer in source.model.layers if not isinstance(layer, inputs)]

    def is_wrong(number: int) -> bool:
        part = source.up_to(layers[number], _IMAGES)
        with tempfile.TemporaryDirectory(prefix="tfqkd-") as directory:
            try:
                write(part, pathlib.Path(directory) / file_name)
                received = run_file(runner, pathlib.Path(directory) / file_name, part.images)
            except ExportError:
                return True
        return _differs(received, part.logits, part.logits.ndim - 1, tolerance)

    return _first(layers, is_wrong)


def _first(layers: Sequence[str], is_wrong: Callable[[int], bool]) -> str | None:
    low, high = 0, len(layers)
    while low < high:
        middle = (low + high) // 2
        if is_wrong(middle):
            high = middle
        else:
            low = middle + 1
    return layers[low] if low < len(layers) else None


def _differs(received: np.ndarray, expected: np.ndarray, channel: int, tolerance: float) -> bool:
    # By channel: batch normalisation may make one a thousand times as large as another.
    others = tuple(axis for axis in range(expected.ndim) if axis != channel)
    allowed = tolerance * np.abs(expected).max(axis=others, keepdims=True).clip(min=1.0)
    return received.shape != expected.shape or not (np.abs(received - expected) <= allowed).all()


def _outputs(runner: Sequence[str], content: bytes, suffix: str, images: np.ndarray) -> np.ndarray:
    with tempfile.TemporaryDirectory(prefix="tfqkd-") as directory:
        file = pathlib.Path(directory) / f"cut{suffix}"
        file.write_bytes(content)
        return run_file(runner, file, images)
