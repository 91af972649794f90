import subprocess
import sys

import numpy as np
import pytest

from tfqkd.runtime import footprint as module
from tfqkd.runtime.footprint import footprint

# In a process of its own, whose peak is not far above what it holds.
_OF_120_MEGABYTES = """
import numpy as np
from tfqkd.runtime.footprint import footprint

class Model:
    input_shape = (2, 2, 1)

    def __init__(self, path, direct):
        self.content = np.ones(40 << 20, np.uint8)

    def __call__(self, images):
        return np.ones(80 << 20, np.uint8)

print(footprint("a", load=Model)["peak_bytes"] / (1 << 20))
"""


def test_the_peak_is_what_loading_and_running_add():
    child = subprocess.run(
        [sys.executable, "-c", _OF_120_MEGABYTES], capture_output=True, text=True, check=True
    )
    assert float(child.stdout) == pytest.approx(120, rel=0.1)


class Model:
    input_shape = (2, 2, 1)

    def __call__(self, images):
        return np.zeros((len(images), 3))


def test_a_system_that_does_not_tell_the_peak_gives_none(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "_STATUS", tmp_path / "none")
    found = footprint("a", load=lambda path, direct: Model())
    assert found["peak_bytes"] is None and found["load_seconds"] > 0
