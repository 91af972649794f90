"""Finds the layer where a TFLite file goes wrong, when its logits are not those of the model."""

import pathlib
import tempfile
from collections.abc import Sequence

import numpy as np

from tfqkd.export import tflite
from tfqkd.export.tflite import StoredKernel, schema
from tfqkd.export.verification import ExportError, run_file
from tfqkd.runtime.signature import OUTPUT

_TOLERANCE = 1e-3  # Float32 noise grows with depth; a wrong kernel is far above this.
_IMAGES = 4


def first_wrong_layer(
    runner: Sequence[str],
    content: bytes,
    reference: bytes,
    kernels: Sequence[StoredKernel],
    images: np.ndarray,
) -> str | None:
    """Returns the first layer whose output is not that of the float file.

    Both files are cut off behind a layer and run in a child process; bisection finds the first one
    that crashes, is not finite, or differs.

    Args:
        runner: What runs a file; see `verification.verify`.
        content: The file.
        reference: The float file that the converter wrote, with the same operators in the same
            order.
        kernels: The kernels of both, in the order of the operators that read them.
        images: float32 [n, H, W, C] in 0..255.

    Returns:
        The layer's name, or None if every layer's output is right.
    """
    names = [kernel.layer for kernel in kernels]
    count = min(len(names), *(_kernel_count(file) for file in (content, reference)))

    def is_wrong(number: int) -> bool:
        cut = [_cut_after(file, number) for file in (content, reference)]
        try:
            received = _outputs(runner, cut[0], images[:_IMAGES])
        except ExportError:
            return True
        expected = _outputs(runner, cut[1], images[:_IMAGES])
        allowed = _TOLERANCE * max(1.0, float(np.abs(expected).max()))
        return not np.abs(received - expected).max() <= allowed

    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if is_wrong(middle):
            high = middle
        else:
            low = middle + 1
    return names[low] if low < count else None


def _kernel_count(content: bytes) -> int:
    model = tflite.read(content)
    return len(list(tflite.kernel_operators(model, model.subgraphs[0])))


def _cut_after(content: bytes, number: int) -> bytes:
    """Returns a file that ends at the output of the operator with kernel `number`."""
    model = tflite.read(content)
    graph: schema.SubGraphT = model.subgraphs[0]
    last, _ = list(tflite.kernel_operators(model, graph))[number]
    graph.operators = graph.operators[: graph.operators.index(last) + 1]
    graph.outputs = [last.outputs[0]]
    (signature,) = model.signatureDefs
    (output,) = signature.outputs
    output.name, output.tensorIndex = OUTPUT.encode(), last.outputs[0]
    return tflite.write(model)


def _outputs(runner: Sequence[str], content: bytes, images: np.ndarray) -> np.ndarray:
    with tempfile.TemporaryDirectory(prefix="tfqkd-") as directory:
        file = pathlib.Path(directory) / "cut.tflite"
        file.write_bytes(content)
        return run_file(runner, file, images)
