"""Runs files in the process of the tests: a child for each takes long, and tests of verification have it."""

import contextlib
import pathlib
import tempfile
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from tfqkd.export import (
    ExportError,
    keras_runner,
    load,
    saved_model_runner,
    verification,
    writing,
)
from tfqkd.runtime.inputs import Arrays
from tfqkd.runtime.loading import RUNTIME_SUFFIXES


def run_file(runner: Sequence[str], draft: pathlib.Path, inputs: Arrays) -> Arrays:
    """Returns what `verification.run_file` returns."""
    if draft.suffix not in RUNTIME_SUFFIXES:
        module = keras_runner if draft.suffix == ".keras" else saved_model_runner
        with tempfile.TemporaryDirectory() as folder:
            paths = [str(draft), f"{folder}/in.npz", f"{folder}/out.npz"]
            np.savez(paths[1], **inputs)
            module.main(paths)
            with np.load(paths[2]) as arrays:
                return dict(arrays)
    try:
        return load(draft, direct="--direct" in runner).named(inputs)
    except RuntimeError as error:
        raise ExportError(f"It does not run: {error}") from error


@contextlib.contextmanager
def files_run_here() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (verification, writing):
            patch.setattr(module, "run_file", run_file)
        yield
