"""Runs files in the process of the tests: a child for each takes long, and tests of verification have it."""

import contextlib
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from tfqkd.compat import keras, tf
from tfqkd.export import ExportError, load, verification, writing


def run_file(runner: Sequence[str], draft: pathlib.Path, images: np.ndarray) -> np.ndarray:
    """Returns what `verification.run_file` returns."""
    if draft.is_dir():
        signature = tf.saved_model.load(draft).signatures["serving_default"]
        (outputs,) = signature(images=tf.constant(images, tf.float32)).values()
        return outputs.numpy()
    if draft.suffix == ".keras":
        return keras.models.load_model(draft, compile=False).predict(images, verbose=0)
    try:
        return load(draft, direct="--direct" in runner)(images)
    except RuntimeError as error:
        raise ExportError(f"It does not run: {error}") from error


@contextlib.contextmanager
def files_run_here() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (verification, writing):
            patch.setattr(module, "run_file", run_file)
        yield
