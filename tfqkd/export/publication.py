"""Writes a file under another name, verifies it, and only then puts it in its place."""

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from tfqkd.export.accuracy import checked_accuracy
from tfqkd.export.formats import Format
from tfqkd.export.kernels import (
    StoredKernel,
    float_layers,
    layer_sizes,
    quantized_kernels,
    wrong_kernel,
)
from tfqkd.export.localisation import first_wrong_layer, first_wrong_part
from tfqkd.export.notices import without_notices
from tfqkd.export.packing import packings
from tfqkd.export.report import Report, measure
from tfqkd.export.source import Source
from tfqkd.export.verification import (
    Agreement,
    ConversionError,
    ExportError,
    run_file,
    staged_file,
    verify,
)
from tfqkd.version import __version__


@dataclasses.dataclass(frozen=True)
class Written:
    """What a file holds.

    Attributes:
        kernels: Its kernels.
        other_type: The type of the weights in those that are not codes.
        reference: The content of the float file with the same kernels, if the file can be compared
            with it layer by layer.
        cut_after: See `localisation.first_wrong_layer`; given together with `reference`.
    """

    kernels: Sequence[StoredKernel]
    other_type: str = "float32"
    reference: bytes | None = None
    cut_after: Callable[[bytes, int], bytes] | None = None


def require_file(path: pathlib.Path, form: Format) -> None:
    """Raises ExportError if a file cannot stand at `path`, for it is a directory."""
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
            "input_range": [0, 255],
            "class_names": source.class_names,
            "output": source.output,
            **form.options,
        }
    )


def variables_read_back(source: Source, stored: Iterable[np.ndarray]) -> Written:
    """Compares the variables of a file that was read back with the model's, in the same order.

    Raises:
        ExportError: If one differs; it names the layer.
    """
    for variable, value in zip(source.model.variables, stored, strict=True):
        if not np.array_equal(variable.numpy(), value):
            layer, _, name = variable.name.rpartition("/")
            raise wrong_kernel(layer, f"another {name}")
    kernels = source.owners.kernels
    return Written([StoredKernel((each.layer,), each.value, (), (), ()) for each in kernels])


def publish(
    source: Source,
    path: pathlib.Path,
    form: Format,
    *,
    write: Callable[[Source, pathlib.Path], Written],
    runners: Sequence[Sequence[str]],
) -> Report:
    """Writes, verifies and reports one file.

    Args:
        source: The model.
        path: Where the file goes.
        form: Its format.
        write: Writes the model it is called with to a path, and reads it back.
        runners: All that run it in a child process; see `verification.verify`.

    Raises:
        ExportError: If it cannot be written, or does not compute what the model computes.
    """
    with without_notices(), staged_file(path) as draft:
        written = _write(source, draft, form, write, runners[-1])
        agreements = [_verify(runner, written, draft, source, form, write) for runner in runners]
        accuracy = _test(runners[-1], draft, source, form)
        size, gzip_size = measure(draft)
    return Report(
        format=form.name,
        path=str(path),
        bytes=size,
        gzip_bytes=gzip_size,
        images=len(source.images),
        max_difference=max(agreement.max_difference for agreement in agreements),
        agreement=min(agreement.agreement for agreement in agreements),
        accuracy=accuracy,
        quantized=quantized_kernels(written.kernels),
        float_layers=(*float_layers(written.kernels), *_other_layers(source, written)),
        packing=tuple(packings(source)),
        rounded_layers=tuple(kernel.layer for kernel in written.kernels if kernel.is_rounded),
        direct_layers=tuple(kernel.layer for kernel in written.kernels if kernel.is_direct),
        layers=layer_sizes(written.kernels, written.other_type),
        output=source.output,
    )


def _other_layers(source: Source, written: Written) -> list[str]:
    """Returns the layers that a file has in another way than as kernels of their own, as LSTM in ONNX."""
    listed = {layer for kernel in written.kernels for layer in kernel.layers}
    return [layer for layer in source.owners.layers if layer not in listed]


def _write(
    source: Source,
    draft: pathlib.Path,
    form: Format,
    write: Callable[[Source, pathlib.Path], Written],
    runner: Sequence[str],
) -> Written:
    """Writes the file; the error of a converter that fails names the layer."""
    try:
        return write(source, draft)
    except ConversionError as error:
        layer = None
        with contextlib.suppress(Exception):
            layer = first_wrong_part(source, write, runner, draft.name, form.tolerance)
        if layer is None:
            raise
        raise ExportError(f"{error} {_blame(source, layer)}") from error


def _blame(source: Source, layer: str) -> str:
    return f"The first layer that goes wrong is '{layer}', a {type(source.layer(layer)).__name__}."


def _verify(
    runner: Sequence[str],
    written: Written,
    draft: pathlib.Path,
    source: Source,
    form: Format,
    write: Callable[[Source, pathlib.Path], Written],
) -> Agreement:
    """Runs the file; the error of one that is wrong names the layer."""
    try:
        return verify(runner, draft, source.images, source.logits, form.tolerance)
    except ExportError as error:
        layer = None
        # Whatever the search runs into must not hide what it explains.
        if written.reference is not None and written.cut_after is not None:
            with contextlib.suppress(Exception):
                layer = first_wrong_layer(
                    runner,
                    draft,
                    written.reference,
                    [kernel.layer for kernel in written.kernels],
                    source.images,
                    written.cut_after,
                    form.tolerance,
                )
        if layer is not None:
            raise ExportError(
                f"{error} Report the model: the converter's float file is right. "
                f"The first layer that goes wrong is '{layer}'."
            ) from error
        with contextlib.suppress(Exception):
            layer = first_wrong_part(source, write, runner, draft.name, form.tolerance)
        if layer is None:
            raise
        raise ExportError(f"{error} The first layer that goes wrong is '{layer}'.") from error


def _test(runner: Sequence[str], draft: pathlib.Path, source: Source, form: Format) -> float | None:
    if source.test is None:
        return None
    outputs = run_file(runner, draft, source.test.images)
    return checked_accuracy(outputs, source, form, draft.name)
