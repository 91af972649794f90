"""Writes a file under another name, verifies it, and only then puts it in its place."""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence

from tfqkd.export.formats import Format
from tfqkd.export.report import QuantizedKernel, Report, measure
from tfqkd.export.source import Source
from tfqkd.export.verification import staged, verify


@dataclasses.dataclass(frozen=True)
class Kernels:
    """How a file stores the kernels; see the fields of the same names in `Report`."""

    quantized: tuple[QuantizedKernel, ...]
    float_layers: tuple[str, ...]


def publish(
    source: Source,
    path: pathlib.Path,
    form: Format,
    *,
    write: Callable[[pathlib.Path], Kernels],
    runner: Sequence[str],
) -> Report:
    """Writes, verifies and reports one file.

    Args:
        source: The model.
        path: Where the file goes.
        form: Its format.
        write: Writes it to the path it is called with.
        runner: What runs it in a child process; see `verification.verify`.

    Raises:
        ExportError: If it cannot be written, or does not compute what the model computes.
    """
    with staged(path) as draft:
        kernels = write(draft)
        agreement = verify(runner, draft, source.images, source.logits, form.tolerance)
        size, gzip_size = measure(draft)
    return Report(
        format=form.name,
        path=str(path),
        bytes=size,
        gzip_bytes=gzip_size,
        images=len(source.images),
        max_difference=agreement.max_difference,
        agreement=agreement.agreement,
        quantized=kernels.quantized,
        float_layers=kernels.float_layers,
    )
