import subprocess
import sys

import numpy as np
import pytest

from tfqkd.runtime import footprint as module
from tfqkd.runtime.footprint import footprint

MEGABYTE = 2**20


class Model:
    """A file of 40 MB that takes 80 MB more to run."""

    input_shape = (2, 2, 1)

    def __init__(self, path, direct):
        self.content = np.ones(40 * MEGABYTE, np.uint8)

    def __call__(self, images):
        assert images.shape == (1, 2, 2, 1)
        return np.ones(80 * MEGABYTE, np.uint8).sum()


def test_the_peak_is_what_loading_and_running_add():
    # A process of its own, whose peak is not far above what it holds.
    code = (
        "from runtime.test_footprint import Model; from tfqkd.runtime.footprint import footprint\n"
        "found = footprint('a', load=lambda path, direct: Model(path, direct))\n"
        "print(found['peak_bytes'])"
    )
    child = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    assert float(child.stdout) / MEGABYTE == pytest.approx(120, rel=0.1)


def environment():
    import os
    import pathlib

    tests = pathlib.Path(__file__).resolve().parents[1]
    return {**os.environ, "PYTHONPATH": f"{tests}:{tests.parent}"}


def test_a_system_that_does_not_tell_the_peak_gives_none(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "_STATUS", tmp_path / "none")
    found = footprint("a", load=Model)
    assert found["peak_bytes"] is None and found["load_seconds"] > 0
