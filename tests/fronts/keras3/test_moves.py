"""A model that was saved with one backend is the same with another."""

import importlib.util

import numpy as np
import pytest

from tests.fronts.keras3.backends import run

MODULE = "tests.fronts.keras3.children.moved"


def _installed(*packages):
    return all(importlib.util.find_spec(package) for package in packages)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("jax", "tensorflow"),
        ("tensorflow", "jax"),
        ("jax", "torch"),
    ],
)
def test_a_file_moves_from_backend_to_backend(one, other, tmp_path):
    if not _installed(one, other):
        pytest.skip(f"{one} and {other} are not both installed")
    run(one, "-m", MODULE, "write", str(tmp_path))
    run(other, "-m", MODULE, "read", str(tmp_path))
    written, read = np.load(tmp_path / "write.npz"), np.load(tmp_path / "read.npz")
    assert set(written.files) == set(read.files)
    for name in written.files:
        if name == "logits":
            np.testing.assert_allclose(written[name], read[name], rtol=1e-5, atol=1e-5)
        else:
            np.testing.assert_array_equal(written[name], read[name], err_msg=name)
