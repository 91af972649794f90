"""Writes a file under another name, verifies it, and only then puts it in its place."""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence

from tfqkd.export.formats import Format
from tfqkd.export.packing import packings
from tfqkd.export.report import QuantizedKernel, Report, measure
from tfqkd.export.source import Source
from tfqkd.export.verification import Agreement, ExportError, run_file, staged, verify


@dataclasses.dataclass(frozen=True)
class Written:
    """What a file holds.

    Attributes:
        quantized: See `Report`.
        float_layers: See `Report`.
        rounded_layers: See `Report`.
        direct_layers: See `Report`.
        kernel_layers: See `Report`.
        first_wrong_layer: Called with a runner when the file is wrong, it returns the layer where
            it goes wrong, or None if it cannot tell.
    """

    quantized: tuple[QuantizedKernel, ...]
    float_layers: tuple[str, ...]
    rounded_layers: tuple[str, ...] = ()
    direct_layers: tuple[str, ...] = ()
    kernel_layers: tuple[str, ...] = ()
    first_wrong_layer: Callable[[Sequence[str]], str | None] = lambda runner: None


def require_file(path: pathlib.Path, form: Format) -> None:
    """Raises ExportError if a file cannot stand at `path`, for it is a directory."""
    if path.is_dir():
        raise ExportError(
            f"`path` must name a file. Received: {path}, which is a directory. "
            f"Add a file name, for example {path / form.file_name}."
        )


def publish(
    source: Source,
    path: pathlib.Path,
    form: Format,
    *,
    write: Callable[[pathlib.Path], Written],
    runners: Sequence[Sequence[str]],
) -> Report:
    """Writes, verifies and reports one file.

    Args:
        source: The model.
        path: Where the file goes.
        form: Its format.
        write: Writes it to the path it is called with.
        runners: All that run it in a child process; see `verification.verify`.

    Raises:
        ExportError: If it cannot be written, or does not compute what the model computes.
    """
    with staged(path) as draft:
        written = write(draft)
        agreements = [_verify(runner, draft, source, form, written) for runner in runners]
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
        quantized=written.quantized,
        float_layers=written.float_layers,
        packing=tuple(packings(source)),
        rounded_layers=written.rounded_layers,
        direct_layers=written.direct_layers,
        kernel_layers=written.kernel_layers,
    )


def _verify(
    runner: Sequence[str], draft: pathlib.Path, source: Source, form: Format, written: Written
) -> Agreement:
    try:
        return verify(runner, draft, source.images, source.logits, form.tolerance)
    except ExportError as error:
        layer = written.first_wrong_layer(runner)
        if layer is None:
            raise
        raise ExportError(f"{error} The first layer that goes wrong is '{layer}'.") from error


def _test(runner: Sequence[str], draft: pathlib.Path, source: Source, form: Format) -> float | None:
    if source.test is None or source.test_accuracy is None:
        return None
    accuracy = source.test.accuracy(run_file(runner, draft, source.test.images))
    points = 100 * abs(accuracy - source.test_accuracy)
    if points > form.top1_points:
        raise ExportError(
            f"A file's accuracy must be within {form.top1_points} points of the Keras model's "
            f"({draft.name}). Received: {100 * accuracy:.2f} % instead of "
            f"{100 * source.test_accuracy:.2f} % on {len(source.test.labels)} images. Nothing was "
            "written. Export to an exact format, or calibrate on more images."
        )
    return accuracy
