"""Writes a file under another name, verifies it, and only then puts it in its place."""

import json
import pathlib
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from tfqkd.export.accuracy import checked_accuracy
from tfqkd.export.code_sizes import packings
from tfqkd.export.formats import Format
from tfqkd.export.report import Report, file_sizes
from tfqkd.export.source import Source
from tfqkd.export.stored_kernels import (
    StoredKernel,
    float_layers,
    layer_sizes,
    quantized_kernels,
    wrong_kernel,
)
from tfqkd.export.verification import ExportError, run_file, staged_file, verify
from tfqkd.process.notices import without_notices
from tfqkd.runtime.signature import INPUT
from tfqkd.version import __version__


def require_file(path: pathlib.Path, form: Format) -> None:
    """Raises ExportError if a file cannot be at `path`, because it is a directory."""
    if path.is_dir():
        raise ExportError(
            f"`path` must name a file. Received: {path}, which is a directory. "
            f"Add a file name, for example {path / form.file_name}."
        )


def metadata(source: Source, form: Format) -> str:
    """Returns what every file says about itself, a JSON object."""
    return json.dumps(
        {
            "producer": f"tfqkd {__version__}",
            "format": form.name,
            **({"input_range": [0, 255]} if INPUT in source.signature else {}),
            **({"centre_crop": True} if source.centre_crop else {}),
            **({} if list(source.signature) == [INPUT] else {"inputs": list(source.signature)}),
            "class_names": source.class_names,
            "output": source.output,
            **form.options,
        }
    )


def variables_read_back(source: Source, stored: Iterable[np.ndarray]) -> list[StoredKernel]:
    """Compares the variables of a file that was read back with the model's, in the same order.

    Returns:
        The kernels among them.

    Raises:
        ExportError: If one differs; it names the layer.
    """
    for variable, value in zip(source.model.variables, stored, strict=True):
        if not np.array_equal(variable.numpy(), value):
            layer, _, name = variable.name.rpartition("/")
            raise wrong_kernel(layer, f"another {name}")
    kernels = source.owners.kernels
    return [StoredKernel((each.layer,), each.value, (), (), ()) for each in kernels]


def write_verified(
    source: Source,
    path: pathlib.Path,
    form: Format,
    *,
    write: Callable[[pathlib.Path], Sequence[StoredKernel]],
    runners: Sequence[Sequence[str]],
) -> Report:
    """Writes, verifies and reports one file.

    Args:
        source: The model.
        path: Where the file goes.
        form: Its format.
        write: Writes the model to the path that it is called with, reads it back, and returns the file's
            kernels; those without codes are stored as `form.weights`.
        runners: All that run it in a child process; see `verification.verify`.

    Raises:
        ExportError: If it cannot be written, or does not compute what the model computes.
    """
    with without_notices(), staged_file(path) as draft:
        kernels = write(draft)
        agreements = [
            verify(runner, draft, source.inputs, source.outputs, form.tolerance)
            for runner in runners
        ]
        accuracy = None
        if source.test is not None:
            (outputs,) = run_file(runners[-1], draft, source.test.inputs).values()
            accuracy = checked_accuracy(outputs, source, form, draft.name)
        size, gzip_size = file_sizes(draft / form.payload)
    return Report(
        format=form.name,
        path=str(path),
        bytes=size,
        gzip_bytes=gzip_size,
        images=source.count,
        max_difference=max(agreement.max_difference for agreement in agreements),
        agreement=min(agreement.agreement for agreement in agreements),
        accuracy=accuracy,
        quantized=quantized_kernels(kernels),
        float_layers=(*float_layers(kernels), *_other_layers(source, kernels)),
        packing=tuple(packings(source)),
        rounded_layers=tuple(kernel.layer for kernel in kernels if kernel.is_rounded),
        direct_layers=tuple(kernel.layer for kernel in kernels if kernel.is_direct),
        layers=layer_sizes(kernels, form.weights),
        output=source.output,
    )


def _other_layers(source: Source, kernels: Sequence[StoredKernel]) -> list[str]:
    """Returns the layers that a file has in another way than as kernels of their own, as LSTM in ONNX."""
    listed = {layer for kernel in kernels for layer in kernel.layers}
    return [layer for layer in source.owners.layers if layer not in listed]
