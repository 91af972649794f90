"""Writes the formats of a run once before it trains: one that cannot be written says so at once."""

import contextlib
import dataclasses
import math
import pathlib
import tempfile
import time
from collections.abc import Iterator, Sequence

import numpy as np

from tfqkd.compat import keras
from tfqkd.export.exporter import write_format
from tfqkd.export.format_options import with_arena
from tfqkd.export.formats import Format, parse_formats
from tfqkd.export.source import Source
from tfqkd.export.verification import ExportError
from tfqkd.runtime.outputs import LOGITS

_SLOW_SECONDS = 5.0


def require_formats(
    model: keras.Model,
    formats: Sequence[str] | str,
    images: np.ndarray,
    class_names: Sequence[str] | None = None,
    arena_bytes: int = 0,
) -> None:
    """Exports an untrained model to every format, to a directory that is deleted.

    Each file is converted, read back and run, as that of the trained model will be. How far rounding
    moves the logits says something of a trained one alone. Prints which formats take long.

    Args:
        model: See `export`.
        formats: Names of formats, in a sequence or separated by commas.
        images: Real images, uint8 or float32 [n, H, W, C] in 0..255; activations are calibrated on them.
        class_names: See `export`.
        arena_bytes: See `export`.

    Raises:
        ExportError: If a format cannot be written; it names the format.
    """
    named = formats if isinstance(formats, str) else ",".join(formats)
    source = Source.prepare(model, class_names, images[:2], images, output=LOGITS)
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="tfqkd-") as directory:
        for form in with_arena(parse_formats(named), arena_bytes):
            began = time.monotonic()
            with _named(form):
                write_format(source, pathlib.Path(directory), _without_figures(form))
            seconds[form.name] = time.monotonic() - began
    slow = [f"{name} {took:.0f} s" for name, took in seconds.items() if took > _SLOW_SECONDS]
    if slow:
        print(f"Slow to write: {', '.join(slow)}.", flush=True)


def _without_figures(form: Format) -> Format:
    """Returns a format whose logits may be off, if it rounds: an untrained model's are mostly ties."""
    is_exact = form.weights == "float32" and not form.is_integer
    return form if is_exact else dataclasses.replace(form, tolerance=math.inf)


@contextlib.contextmanager
def _named(form: Format) -> Iterator[None]:
    try:
        yield
    except ExportError as error:
        raise ExportError(
            f"{error} Nothing is lost: change the student, or leave {form.name} out of the formats."
        ) from error
