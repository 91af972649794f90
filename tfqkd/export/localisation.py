"""Finds the layer where a file goes wrong, when its logits are not those of the model."""

import pathlib
import tempfile
from collections.abc import Callable, Sequence

import numpy as np

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
        try:
            received = _outputs(runner, cuts[0], file.suffix, images[:_IMAGES])
        except ExportError:
            return True
        expected = _outputs(runner, cuts[1], file.suffix, images[:_IMAGES])
        # By channel: batch normalisation may make one a thousand times as large as another.
        channel = 1 if file.suffix == ".onnx" else expected.ndim - 1
        others = tuple(axis for axis in range(expected.ndim) if axis != channel)
        allowed = tolerance * np.abs(expected).max(axis=others, keepdims=True).clip(min=1.0)
        return not (np.abs(received - expected) <= allowed).all()

    low, high = 0, len(layers)
    while low < high:
        middle = (low + high) // 2
        if is_wrong(middle):
            high = middle
        else:
            low = middle + 1
    return layers[low] if low < len(layers) else None


def _outputs(runner: Sequence[str], content: bytes, suffix: str, images: np.ndarray) -> np.ndarray:
    with tempfile.TemporaryDirectory(prefix="tfqkd-") as directory:
        file = pathlib.Path(directory) / f"cut{suffix}"
        file.write_bytes(content)
        return run_file(runner, file, images)
